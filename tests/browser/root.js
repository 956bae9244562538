import { createRoot } from 'react-dom/client';

export function render(element, place) {
  createRoot(place).render(element);
}
