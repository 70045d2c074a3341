import { useMemo, useState } from 'preact/hooks';

import type { JsonSchema, Options } from '../api/types';
import { say } from '../state';
import { refusalOf } from '../ui/format';
import { IconButton, Labelled, Slider, Switch } from '../ui/kit';
import { grouped, type Group } from './groups';
import { fieldsOf, isChanged, isShare, kShareStep, textOf, valueOf, type Field } from './schema';

/// Forms made of the server's description of options.

interface FormProps {
  fields: Field[];
  values: Options;
  suggestions?: Record<string, string[]>; ///< What a text can be, where the program has a list.
  choiceHelp?: Record<string, Record<string, string> | undefined>; ///< By option, what each of its choices means.
  onChange: (values: Options) => void;
}

/// The options of a job: `first` in front, the others in groups behind a search. `owned` are those that the
/// page sets itself.
export function OptionsForm(props: {
  schema: JsonSchema | undefined;
  first: string[];
  owned: string[];
  groups: Group[];
  values: Options;
  suggestions?: FormProps['suggestions'];
  choiceHelp?: FormProps['choiceHelp'];
  onChange: (values: Options) => void;
}) {
  const fields = useMemo(() => fieldsOf(props.schema), [props.schema]);
  const [search, setSearch] = useState('');
  const front = props.first
    .map((name) => fields.find((field) => field.name === name))
    .filter((field) => field !== undefined);
  const others = fields.filter(
    (field) => !props.owned.includes(field.name) && !props.first.includes(field.name),
  );
  const found = others.filter((field) =>
    `${field.name} ${field.label} ${field.help}`.toLowerCase().includes(search.toLowerCase()),
  );
  const changedCount = others.filter((field) => isChanged(field, props.values)).length;
  const shown = grouped(fields, props.groups)
    .map(({ title, fields: own }) => ({ title, fields: own.filter((field) => found.includes(field)) }))
    .filter((group) => group.fields.length > 0);
  const form = { values: props.values, suggestions: props.suggestions, choiceHelp: props.choiceHelp, onChange: props.onChange };
  return (
    <>
      <Fields fields={front} {...form} />
      <details>
        <summary>
          All options
          {changedCount > 0 && <span class="tag">{changedCount} changed</span>}
        </summary>
        <div class="stack">
          <input
            type="search" placeholder={`Search ${others.length} options`} aria-label="Search options"
            value={search} onInput={(event) => setSearch(event.currentTarget.value)}
          />
          {shown.map((group) => (
            <section key={group.title} class="option-group" aria-label={`Options: ${group.title}`}>
              <h3>{group.title}</h3>
              <Fields fields={group.fields} {...form} />
            </section>
          ))}
          {found.length === 0 && <p class="soft">No option is called that.</p>}
        </div>
      </details>
    </>
  );
}

export function Fields({ fields, ...form }: FormProps) {
  return (
    <div class="fields">
      {fields.map((field) => (
        <OptionField key={field.name} field={field} {...form} />
      ))}
    </div>
  );
}

function OptionField({ field, values, suggestions, choiceHelp, onChange }: Omit<FormProps, 'fields'> & { field: Field }) {
  const value = field.name in values ? values[field.name] : field.fallback;
  const set = (next: unknown) => onChange({ ...values, [field.name]: next });
  const reset = () => {
    const { [field.name]: _, ...rest } = values;
    onChange(rest);
  };
  const putBack = field.name in values ? set : reset;
  const changed = isChanged(field, values);
  return (
    <div class={changed ? 'option changed' : 'option'}>
      <Control field={field} value={value} set={set} putBack={putBack} suggestions={suggestions?.[field.name] ?? []} choiceHelp={choiceHelp?.[field.name]} />
      {changed && (
        <IconButton
          class="small reset" icon="undo" label={`${field.label}: back to ${textOf(field.fallback) || 'empty'}`}
          onClick={reset}
        />
      )}
    </div>
  );
}

interface ControlProps {
  field: Field;
  value: unknown;
  set: (value: unknown) => void;
  putBack: (value: unknown) => void; ///< Sets the value that it has now, which may be none of its own.
  suggestions: string[];
  choiceHelp?: Record<string, string> | undefined;
}

const kFewChoices = 30;

function Control(props: ControlProps) {
  const { field, value, set, suggestions } = props;
  if (field.kind === 'switch') {
    return (
      <div class="labelled">
        <Switch label={field.label} checked={value === true} onChange={set} />
        <div class="hint">{field.help}</div>
      </div>
    );
  }
  if (isShare(field, value)) {
    return (
      <div class="labelled">
        <Slider label={field.label} value={Number(value ?? 0)} least={0} most={1} step={kShareStep} onChange={set} />
        <div class="hint">{field.help}</div>
      </div>
    );
  }
  const choices = field.kind === 'choice' ? field.choices : suggestions;
  if (field.kind === 'choice' || (choices.length > 0 && choices.length <= kFewChoices)) {
    return <ChoiceControl {...props} choices={choices} />;
  }
  return <TextControl {...props} />;
}

function ChoiceControl({ field, value, set, choices, choiceHelp }: ControlProps & { choices: string[] }) {
  const current = textOf(value);
  const all = choices.includes(current) ? choices : [current, ...choices];
  const help = choiceHelp?.[current];
  return (
    <Labelled label={field.label} hint={help ? sentenceOf(help) : field.help}>
      {(id, describedBy) => (
        <select
          id={id} aria-describedby={describedBy} value={current}
          onChange={(event) => set(event.currentTarget.value)}
        >
          {all.map((choice) => (
            <option key={choice} value={choice}>{choice || '(none)'}</option>
          ))}
        </select>
      )}
    </Labelled>
  );
}

interface Draft {
  text: string;
  came: string; ///< The value that it came to, as a text.
  before: { value: unknown; put: (value: unknown) => void }; ///< What the field had when somebody began to type.
  error?: string;
}

/// What is typed counts when it is a value of the field; until then the field says what it lacks, and
/// the option has the value that it had before. It stands as it was typed for as long as the option has
/// the value that it came to. Left with what is no value, the field says that this was not taken.
function TextControl({ field, value, set, putBack }: ControlProps) {
  const [draft, setDraft] = useState<Draft | null>(null);
  const [refusal, setRefusal] = useState<{ text: string; came: string } | null>(null);
  const shown = draft?.came === textOf(value) ? draft : null;
  const change = (text: string) => {
    const before = shown?.before ?? { value, put: putBack };
    setRefusal(null);
    try {
      const next = valueOf(field, text);
      setDraft({ text, before, came: textOf(next) });
      set(next);
    } catch (problem) {
      setDraft({ text, before, came: textOf(before.value), error: (problem as Error).message });
      before.put(before.value);
    }
  };
  const leave = () => {
    setDraft(null);
    if (!shown?.error) return;
    const text = refusalOf(shown.text, shown.error, textOf(value));
    setRefusal({ text, came: shown.came });
    say(`${field.label}: ${text}`, 'error'); // who left it for the button below looks elsewhere
  };
  const error = shown?.error ?? (refusal?.came === textOf(value) ? refusal.text : undefined);
  const isNumber = field.kind === 'integer' || field.kind === 'number';
  return (
    <Labelled label={field.label} hint={hintOf(field)} error={error}>
      {(id, describedBy) => (
        <input
          id={id} type="text" inputMode={isNumber ? 'decimal' : 'text'} value={shown?.text ?? textOf(value)}
          aria-invalid={shown?.error ? 'true' : undefined} aria-describedby={describedBy} spellcheck={false}
          onInput={(event) => change(event.currentTarget.value)}
          onBlur={leave}
        />
      )}
    </Labelled>
  );
}

function sentenceOf(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function hintOf(field: Field): string {
  return field.kind === 'list' && field.help ? `${field.help} (several with commas)` : field.help;
}

