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
let address = location.hash; // of the page that is shown

/// Where leaving the page would lose something, the address is put back and the dialog asks.
function follow() {
  const dialog = document.querySelector('dialog[data-unsaved]');
  if (dialog && location.hash !== address) {
    history.pushState(null, '', address || '#');
    dialog.dispatchEvent(new Event('cancel', { cancelable: true }));
    return;
  }
  address = location.hash;
  route.set(routeOf(address));
}

window.addEventListener('hashchange', follow);

export function go(page: string, ...rest: string[]) {
  location.hash = `/${[page, ...rest.filter(Boolean).map(encodeURIComponent)].join('/')}`;
}
