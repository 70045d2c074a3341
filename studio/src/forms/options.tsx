import { useMemo, useState } from 'preact/hooks';

import type { JsonSchema, Options } from '../api/types';
import { IconButton, Labelled, Slider, Switch } from '../ui/kit';
import { fieldsOf, isChanged, textOf, valueOf, type Field } from './schema';

/// Forms made of the server's description of options.

interface FormProps {
  fields: Field[];
  values: Options;
  suggestions?: Record<string, string[]>; ///< What a text can be, where the program has a list.
  onChange: (values: Options) => void;
}

/// The options of a job: `first` in front, the others behind a search. `owned` are those that the
/// page sets itself.
export function OptionsForm(props: {
  schema: JsonSchema | undefined;
  first: string[];
  owned: string[];
  values: Options;
  suggestions?: Record<string, string[]>;
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
  const form = { values: props.values, suggestions: props.suggestions, onChange: props.onChange };
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
          <Fields fields={found} {...form} />
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

function OptionField({ field, values, suggestions, onChange }: Omit<FormProps, 'fields'> & { field: Field }) {
  const value = field.name in values ? values[field.name] : field.fallback;
  const set = (next: unknown) => onChange({ ...values, [field.name]: next });
  const reset = () => {
    const { [field.name]: _, ...rest } = values;
    onChange(rest);
  };
  const changed = isChanged(field, values);
  return (
    <div class={changed ? 'option changed' : 'option'}>
      <Control field={field} value={value} set={set} suggestions={suggestions?.[field.name] ?? []} />
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
  suggestions: string[];
}

const kFewChoices = 30;

function Control(props: ControlProps) {
  const { field, value, set, suggestions } = props;
  if (field.kind === 'switch') {
    return <Switch label={field.label} checked={value === true} onChange={set} hint={field.help} />;
  }
  const isShare = field.kind === 'number' && field.least === 0 && field.most === 1;
  if (isShare) {
    return (
      <Slider
        label={field.label} hint={field.help} value={Number(value ?? 0)} least={0} most={1} step={0.01}
        onChange={set}
      />
    );
  }
  const choices = field.kind === 'choice' ? field.choices : suggestions;
  if (field.kind === 'choice' || (choices.length > 0 && choices.length <= kFewChoices)) {
    return <ChoiceControl {...props} choices={choices} />;
  }
  return <TextControl {...props} />;
}

function ChoiceControl({ field, value, set, choices }: ControlProps & { choices: string[] }) {
  const current = textOf(value);
  const all = choices.includes(current) ? choices : [current, ...choices];
  return (
    <Labelled label={field.label} hint={field.help}>
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

/// What is typed counts when it is a value of the field; until then the field says what it lacks.
function TextControl({ field, value, set }: ControlProps) {
  const [draft, setDraft] = useState<string | null>(null);
  const [error, setError] = useState<string>();
  const change = (text: string) => {
    setDraft(text);
    try {
      set(valueOf(field, text));
      setError(undefined);
    } catch (problem) {
      setError((problem as Error).message);
    }
  };
  const isNumber = field.kind === 'integer' || field.kind === 'number';
  return (
    <Labelled label={field.label} hint={hintOf(field)} error={error}>
      {(id, describedBy) => (
        <input
          id={id} type="text" inputMode={isNumber ? 'decimal' : 'text'} value={draft ?? textOf(value)}
          aria-invalid={error ? 'true' : undefined} aria-describedby={describedBy} spellcheck={false}
          onInput={(event) => change(event.currentTarget.value)}
          onBlur={() => { setDraft(null); setError(undefined); }}
        />
      )}
    </Labelled>
  );
}

function hintOf(field: Field): string {
  return field.kind === 'list' && field.help ? `${field.help} (several with commas)` : field.help;
}

