import { newStore } from './store';

/// The page that is open, as the address says it: #/compose, #/concepts/racer, …; none at first.
export interface Route {
  page: string;
  rest: string;
}

function routeOf(hash: string): Route {
  const [page = '', ...rest] = hash.replace(/^#\/?/, '').split('/');
  return { page, rest: decodeURIComponent(rest.join('/')) };
}

export const route = newStore<Route>(routeOf(location.hash));
window.addEventListener('hashchange', () => route.set(routeOf(location.hash)));

export function go(page: string, ...rest: string[]) {
  location.hash = `/${[page, ...rest.filter(Boolean).map(encodeURIComponent)].join('/')}`;
}
