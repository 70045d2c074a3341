import { useState } from 'preact/hooks';

import { api, thumbnailUrl } from '../api/client';
import type { Concept, ConceptPicture } from '../api/types';
import { attempt } from '../state';
import { Button, Labelled } from '../ui/kit';

/// Captions, one by one and in bulk. Nothing is written before it is saved.

/// Texts that are not saved, by the names of their pictures; kept wherever else somebody looks meanwhile.
export type Drafts = Record<string, string>;

const ownText = (picture: ConceptPicture) => (picture.caption_file === null ? '' : picture.caption);

/// The pictures whose captions are typed and not saved.
export function unsavedOf(concept: Concept, drafts: Drafts): ConceptPicture[] {
  return concept.pictures.filter((picture) => (drafts[picture.name] ?? ownText(picture)) !== ownText(picture));
}

/// "12 captions are changed".
function countOf(changed: ConceptPicture[]): string {
  return `${changed.length} ${changed.length === 1 ? 'caption is' : 'captions are'} changed`;
}

export function Captions(props: {
  concept: Concept;
  version: string; ///< Of the pictures that `concept` names.
  drafts: Drafts;
  onDrafts: (next: Drafts | ((old: Drafts) => Drafts)) => void;
  onChange: () => void;
}) {
  const { concept, version, drafts, onDrafts } = props;
  const textOf = (picture: ConceptPicture, of = drafts) => of[picture.name] ?? ownText(picture);
  const set = (name: string, text: string) => onDrafts((old) => ({ ...old, [name]: text }));
  const changed = unsavedOf(concept, drafts);
  const all = (change: (text: string) => string) =>
    onDrafts((old) => Object.fromEntries(concept.pictures.map((picture) => [picture.name, change(textOf(picture, old))])));
  const save = () =>
    attempt(async () => {
      const entries = changed.map((picture) => [picture.name, textOf(picture).trim() || null] as const);
      await api.setCaptions(concept.name, Object.fromEntries(entries));
      // What was typed since then is not saved.
      onDrafts((old) => Object.fromEntries(Object.entries(old).filter(([name, text]) => text !== drafts[name])));
      props.onChange();
    });
  return (
    <>
      <p class="hint">
        What is in each picture besides the concept, in a line; {'<TOK>'} stands for its words{concept.words.length > 0 && `, ${concept.words.join(' ')}`}.
        What a caption names is not learned as a part of the concept.
      </p>
      <Bulk concept={concept} onAll={all} />
      <ul class="caption-list">
        {concept.pictures.map((picture) => (
          <li key={picture.name}>
            <img src={thumbnailUrl(picture.file, version)} alt="" loading="lazy" />
            <div class="grow">
              <textarea
                aria-label={`Caption of ${picture.name}`} rows={2} value={textOf(picture)} spellcheck={false}
                placeholder={`${picture.caption || '<TOK>'}, until it has its own`} onInput={(event) => set(picture.name, event.currentTarget.value)}
              />
              {!calls(textOf(picture), concept) && textOf(picture) && (
                <p class="hint wrong">It needs {'<TOK>'} or the concept’s words.</p>
              )}
            </div>
          </li>
        ))}
      </ul>
      {changed.length > 0 && (
        <div class="save-bar" role="status">
          <span>{countOf(changed)}</span>
          <span class="grow" />
          <Button onClick={() => onDrafts({})}>Discard</Button>
          <Button kind="primary" onClick={() => void save()}>Save</Button>
        </div>
      )}
    </>
  );
}

function calls(text: string, concept: Concept): boolean {
  if (text.includes('<TOK>')) return true;
  return concept.words.length > 0 && concept.words.every((word) => text.includes(word));
}

function Bulk(props: { concept: Concept; onAll: (change: (text: string) => string) => void }) {
  const { concept, onAll } = props;
  const [find, setFind] = useState('');
  const [put, setPut] = useState('');
  const [before, setBefore] = useState('a photo of a <TOK>');
  return (
    <details class="bulk">
      <summary>All at once</summary>
      <div class="bulk-rows">
        <Labelled label="For pictures without a caption">
          {(id) => (
            <div class="row">
              <input id={id} type="text" value={before} onInput={(event) => setBefore(event.currentTarget.value)} />
              <Button onClick={() => onAll((text) => text || before)}>Fill in</Button>
            </div>
          )}
        </Labelled>
        <Labelled label="Where the concept is not called">
          {(id) => (
            <div class="row">
              <Button id={id} onClick={() => onAll((text) => (text && !calls(text, concept) ? `<TOK>, ${text}` : text))}>
                Put {'<TOK>'} in front
              </Button>
            </div>
          )}
        </Labelled>
        <Labelled label="Replace">
          {(id) => (
            <div class="row">
              <input id={id} type="text" value={find} placeholder="this" onInput={(event) => setFind(event.currentTarget.value)} />
              <input type="text" aria-label="Replace with" value={put} placeholder="with that" onInput={(event) => setPut(event.currentTarget.value)} />
              <Button disabled={!find} onClick={() => onAll((text) => text.split(find).join(put))}>Replace</Button>
            </div>
          )}
        </Labelled>
      </div>
    </details>
  );
}
