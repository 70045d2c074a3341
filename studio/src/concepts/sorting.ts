import type { Options } from '../api/types';
import type { Line } from '../state';
import type { Drop, Found } from './dropped';

/// Which of the files that were dropped are pictures, and which masks and captions belong to them: the
/// layouts that `mos tune` reads (docs/pictures.md). What has no place is named, never passed over.

export interface NewPicture extends Found {
  mask?: Found;
  caption?: Found;
}

/// Of pictures that are not among the dropped files but may be in the concept, by their stems.
export interface Loose {
  stem: string;
  kind: 'mask' | 'caption';
  found: Found;
}

export interface Dropped {
  name: string; ///< Of the folder that they were in; empty: none.
  pictures: NewPicture[];
  loose: Loose[];
  settings: Options | null; ///< What concept.json says.
  phrase: string; ///< How kohya's folder names call the concept in captions.
  leftOut: Line[];
}

export const kNothing: Dropped = { name: '', pictures: [], loose: [], settings: null, phrase: '', leftOut: [] };

const kPictures = ['png', 'jpg', 'jpeg', 'webp'];
const kOtherPictures = ['bmp', 'gif', 'tif', 'tiff', 'avif', 'heic', 'heif', 'jxl'];
const kCaptions = ['txt', 'caption'];
const kPartFolders = ['image', 'images', 'mask', 'masks', 'caption', 'captions'];
const kMaskSuffix = '-masklabel';

const partsOf = (path: string) => path.split('/');
const fileName = (path: string) => partsOf(path).pop() ?? path;
const folderOf = (path: string) => partsOf(path).slice(0, -1).join('/');
const innerFolder = (path: string) => (partsOf(path).at(-2) ?? '').toLowerCase();
const endingOf = (path: string) => /\.([^.]+)$/.exec(fileName(path))?.[1]?.toLowerCase() ?? '';
export const stemOf = (path: string) => fileName(path).replace(/\.[^.]+$/, '');

const isPicture = ({ path }: Found) => kPictures.includes(endingOf(path));
const isCaption = ({ path }: Found) => kCaptions.includes(endingOf(path));
const isInMasks = ({ path }: Found) => ['mask', 'masks'].includes(innerFolder(path));
const isInCaptions = ({ path }: Found) => ['caption', 'captions'].includes(innerFolder(path));

/// What operating systems leave behind.
function isLitter({ path }: Found): boolean {
  return partsOf(path).some((part) => part.startsWith('.') || part === '__MACOSX') || ['Thumbs.db', 'desktop.ini'].includes(fileName(path));
}

export async function sorted({ found, beyond }: Drop): Promise<Dropped> {
  const files = found.filter((file) => !isLitter(file));
  const leftOut: Line[] = beyond.map((name) => ({ name, text: 'lies too deep in folders' }));
  const dropped: Dropped = { ...kNothing, name: nameOf(files), phrase: phraseOf(files), pictures: [], loose: [], leftOut };
  const rest: Found[] = [];
  for (const file of files) {
    const reason = reasonAgainst(file, files);
    if (reason) leftOut.push({ name: file.path, text: reason });
    else if (fileName(file.path) === 'concept.json') await takeSettings(file, dropped);
    else if (isPicture(file) && !isInMasks(file) && !stemOf(file.path).endsWith(kMaskSuffix)) dropped.pictures.push({ ...file });
    else rest.push(file);
  }
  sayRepeats(dropped);
  // The caption in captions/ comes before .txt, and that before .caption.
  const place = (file: Found) => (isInCaptions(file) ? 0 : 1 + kCaptions.indexOf(endingOf(file.path)));
  for (const file of rest.sort((a, b) => place(a) - place(b))) attach(file, dropped);
  return dropped;
}

/// Why a file is left out, whatever lies beside it.
function reasonAgainst(file: Found, files: Found[]): string {
  const folders = partsOf(file.path).slice(0, -1);
  if (folders.some((part) => /^0_/.test(part))) return 'is in a folder that begins with 0_, which leaves it out';
  if (folders.includes('reg')) return 'is a regularisation picture; tuning paints its own class pictures';
  if (fileName(file.path) === 'concept.json') return '';
  if (kOtherPictures.includes(endingOf(file.path))) return 'is no PNG, JPEG or WebP';
  if (isInMasks(file)) return isPicture(file) ? '' : 'is no mask: a picture is expected';
  if (isInCaptions(file)) return isCaption(file) ? '' : 'is no caption: .txt or .caption is expected';
  if (isCaption(file)) return '';
  if (!isPicture(file)) return 'is neither a picture nor a mask or caption';
  if (/-masklabel\d$|-condlabel$/.test(stemOf(file.path))) return 'is a further mask; one is read for each picture';
  const [root] = partsOf(file.path);
  const images = files.find(({ path }) => new RegExp('^images?$').test(partsOf(path)[1] ?? '') && partsOf(path)[0] === root && partsOf(path).length > 2);
  if (images && !/^images?$/.test(partsOf(file.path)[1] ?? '')) return `is not in ${partsOf(images.path)[1]}/, where the pictures are`;
  return '';
}

function attach(file: Found, dropped: Dropped) {
  const isMask = isPicture(file);
  const kind = isMask ? 'mask' : 'caption';
  const ownStem = stemOf(file.path);
  const stem = isMask && ownStem.endsWith(kMaskSuffix) ? ownStem.slice(0, -kMaskSuffix.length) : ownStem;
  const beside = !isInMasks(file) && !isInCaptions(file);
  const owners = dropped.pictures.filter(
    ({ path }) => stemOf(path) === stem && (!beside || folderOf(path) === folderOf(file.path)),
  );
  const [owner] = owners;
  if (!owner) dropped.loose.push({ stem, kind, found: file });
  else if (owners.length > 1) dropped.leftOut.push({ name: file.path, text: `could belong to ${owner.path} or ${owners[1]!.path}; put it beside its picture` });
  else if (owner[kind]) dropped.leftOut.push({ name: file.path, text: `${owner[kind]!.path} is read in its place` });
  else owner[kind] = file;
}

const kSettings = ['words', 'class_word', 'caption', 'templates'];
const kForPeople = ['name', 'category', 'style'];

async function takeSettings(file: Found, dropped: Dropped) {
  const say = (text: string) => dropped.leftOut.push({ name: file.path, text });
  if (dropped.settings) return void say('is a second one; the first is read');
  try {
    const json = JSON.parse(await file.file.text());
    if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Error();
    const unknown = Object.keys(json).filter((key) => ![...kSettings, ...kForPeople].includes(key));
    if (unknown.length > 0) say(`has keys that mean nothing: ${unknown.join(', ')}`);
    dropped.settings = settingsOf(json);
  } catch {
    say('is no JSON object');
  }
}

/// As the server takes them: words are a list, what is empty is not there.
function settingsOf(json: Record<string, unknown>): Options {
  const words = typeof json.words === 'string' ? json.words.split(/[\s,]+/).filter(Boolean) : json.words;
  const texts = kSettings.slice(1).filter((key) => typeof json[key] === 'string' && json[key] !== '');
  return {
    ...(Array.isArray(words) && words.length > 0 ? { words: words.map(String) } : {}),
    ...Object.fromEntries(texts.map((key) => [key, json[key]])),
  };
}

/// "10_sks bear" → 10 and "sks bear".
function groupOf(path: string): { repeats: number; phrase: string } | null {
  const match = /^(\d+)_(.*)$/.exec(partsOf(path).at(-2) ?? '');
  return match ? { repeats: Number(match[1]), phrase: match[2]!.trim() } : null;
}

/// Where kohya's folders say different things, they say nothing.
function phraseOf(files: Found[]): string {
  const phrases = new Set(files.filter(isPicture).map(({ path }) => groupOf(path)?.phrase ?? ''));
  return phrases.size === 1 ? [...phrases][0]! : '';
}

function nameOf(files: Found[]): string {
  const folder = files.find(({ path }) => path.includes('/'))?.path.split('/')[0] ?? '';
  return kPartFolders.includes(folder.toLowerCase()) ? '' : folder.replace(/^\d+_/, '');
}

/// How often pictures come in comparison is said by kohya's folders alone, and here is one folder.
function sayRepeats({ pictures, leftOut }: Dropped) {
  const repeats = new Set(pictures.map(({ path }) => groupOf(path)?.repeats ?? 1));
  if (repeats.size > 1) {
    leftOut.push({ name: [...repeats].map((count) => `${count}_…`).join(', '), text: 'how often these folders come: here each picture comes equally often' });
  }
}
