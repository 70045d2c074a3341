import { newStore } from './store';

export type Theme = 'auto' | 'light' | 'dark';
const kKey = 'mos-theme';

export const theme = newStore<Theme>(recalled());

function recalled(): Theme {
  const value = localStorage.getItem(kKey);
  return value === 'light' || value === 'dark' ? value : 'auto';
}

function apply(value: Theme) {
  document.documentElement.dataset.theme = value;
  localStorage.setItem(kKey, value);
}

apply(theme.get());
theme.watch(() => apply(theme.get()));
