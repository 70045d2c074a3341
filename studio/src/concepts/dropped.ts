/// Files that somebody chose or dropped; folders are looked into.

export interface Found {
  path: string; ///< With the folders that it was dropped in: "hina/images/00.png".
  file: File;
}

const kDeepest = 4;

/// What is dropped. What lies too deep is named in `beyond`.
export interface Drop {
  found: Found[];
  beyond: string[];
}

export function chosenFiles(files: FileList | File[] | undefined | null): Drop {
  return { found: [...(files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file })), beyond: [] };
}

export async function droppedFiles(transfer: DataTransfer | null): Promise<Drop> {
  // Entries are there for as long as the event is handled: all are taken before anything is awaited.
  const entries = [...(transfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.() ?? null);
  const plain = [...(transfer?.files ?? [])];
  if (!entries.some((entry) => entry?.isDirectory)) return chosenFiles(plain);
  const drop: Drop = { found: [], beyond: [] };
  for (const entry of entries) if (entry) await take(entry, '', drop);
  drop.found.sort((a, b) => (a.path < b.path ? -1 : 1));
  return drop;
}

async function take(entry: FileSystemEntry, folder: string, drop: Drop) {
  const path = folder + entry.name;
  if (entry.isFile) {
    drop.found.push({ path, file: await fileOf(entry as FileSystemFileEntry) });
  } else if (path.split('/').length > kDeepest) {
    drop.beyond.push(`${path}/`);
  } else {
    for (const inner of await entriesOf(entry as FileSystemDirectoryEntry)) await take(inner, `${path}/`, drop);
  }
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const found: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (some.length === 0) return found;
    found.push(...some);
  }
}
