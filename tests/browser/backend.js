// Grafana's backendSrv, over fetch.
export function fetchFrom({ from }) {
  const send = async ({ url, method = 'GET', data, params, headers }) => {
    const query = params && Object.keys(params).length ? `?${new URLSearchParams(params)}` : '';
    const response = await fetch(`/${url.replace(/^\//, '')}${query}`, {
      method,
      headers: { 'Content-Type': 'application/json', ...headers },
      body: data === undefined ? undefined : JSON.stringify(data),
    });
    const text = await response.text();
    const body = text ? JSON.parse(text) : undefined;
    const answer = { status: response.status, statusText: response.statusText, ok: response.ok, data: body, config: { url } };
    if (!response.ok) {
      throw answer;
    }
    return answer;
  };
  const only = async (request) => (await send(request)).data;
  return {
    fetch: (request) => from(send(request)),
    datasourceRequest: send,
    request: only,
    get: (url, params) => only({ url, params }),
    post: (url, data) => only({ url, data, method: 'POST' }),
    put: (url, data) => only({ url, data, method: 'PUT' }),
    delete: (url) => only({ url, method: 'DELETE' }),
  };
}
