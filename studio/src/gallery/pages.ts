import { api } from '../api/client';
import type { Picture } from '../api/types';

/// The gallery as far as it has been looked at: the server gives pictures from the newest on, so
/// what lies deeper is loaded when somebody scrolls there.

export interface Filter {
  search: string;
  starred: boolean;
}

const kPageSize = 500;

export class Shelf {
  pictures: Picture[] = [];
  total = 0;
  private loading: Promise<void> | null = null;
  private age = 0;
  private wanted = 0;

  constructor(
    private readonly filter: Filter,
    private readonly onChange: () => void,
  ) {}

  /// Loads until picture number `index` is there, or there are no more.
  async reach(index: number): Promise<void> {
    this.wanted = index;
    const age = this.age;
    while (age === this.age && index >= this.pictures.length) {
      const before = this.pictures.length;
      this.loading ??= this.load().finally(() => (this.loading = null));
      await this.loading;
      if (this.pictures.length === before) return;
    }
  }

  /// Begins anew, with as many pictures as were there.
  async refresh(): Promise<void> {
    const age = ++this.age;
    const count = Math.max(kPageSize, this.pictures.length);
    const pictures: Picture[] = [];
    let total = 0;
    do {
      const answer = await api.gallery({ ...this.filter, limit: kPageSize, ...beforeOf(pictures) });
      if (age !== this.age) return;
      pictures.push(...answer.pictures);
      total = answer.total;
      if (answer.pictures.length < kPageSize) break;
    } while (pictures.length < count);
    this.pictures = pictures;
    this.total = total;
    this.onChange();
    await this.reach(this.wanted); // what was on its way when this began
  }

  private async load() {
    const age = this.age;
    const answer = await api.gallery({ ...this.filter, limit: kPageSize, ...beforeOf(this.pictures) });
    if (age !== this.age) return;
    this.pictures = [...this.pictures, ...answer.pictures];
    this.total = answer.total;
    this.onChange();
  }
}

function beforeOf(pictures: Picture[]): { before?: number } {
  const last = pictures[pictures.length - 1];
  return last ? { before: last.id } : {};
}

/// Which rows of a list of equal rows are in sight, with a few beyond.
export function rowsInSight(
  scroll: { top: number; height: number },
  rowHeight: number,
  rows: number,
  beyond = 3,
): { first: number; last: number } {
  const first = Math.max(0, Math.floor(scroll.top / rowHeight) - beyond);
  const last = Math.min(rows - 1, Math.ceil((scroll.top + scroll.height) / rowHeight) + beyond);
  return { first, last };
}
