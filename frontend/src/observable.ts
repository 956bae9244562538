// The last value of what `query` returns: an Observable, or in old Grafana perhaps a Promise.
import { Observable } from 'rxjs';

export function last<T>(answer: Observable<T> | Promise<T>): Promise<T | undefined> {
  if (!('subscribe' in answer)) {
    return answer;
  }
  return new Promise((resolve, reject) => {
    let value: T | undefined;
    answer.subscribe({
      next: (one) => (value = one),
      error: reject,
      complete: () => resolve(value),
    });
  });
}
