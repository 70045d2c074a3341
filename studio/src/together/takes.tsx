import { useState } from 'preact/hooks';

import { percent } from '../ui/format';
import { Segments } from '../ui/kit';
import { takenBy, type Fit, type FusionFacts } from './fit';

/// Which concept takes from which: what each puts out where only another one is called.

const kAll = 'all';
const kMuch = 0.25; ///< Of a concept's own change; a cell of it is filled.

export function Takes({ facts, titles }: { facts: FusionFacts; titles: Record<string, string> }) {
  const [stage, setStage] = useState(kAll);
  const names = facts.concepts.filter((name) => Object.keys(facts.total[name]?.from ?? {}).length > 0);
  if (names.length === 0) return null;
  const fits = stage === kAll ? facts.total : (facts.byStage[stage] ?? {});
  const groups = [{ value: kAll, label: 'All layers' }, ...facts.stages.map((value) => ({ value, label: titles[value] ?? value }))];
  return (
    <section class="takes" aria-label="Who takes from whom">
      <div class="row wrap spread">
        <h3>Who takes from whom</h3>
        <Segments label="Layers" value={stage} choices={groups} onChange={setStage} />
      </div>
      <div class="identity-scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">where only this is called</th>
              {names.map((name) => <th key={name} scope="col">{name} adds</th>)}
            </tr>
          </thead>
          <tbody>
            {names.map((name) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {names.map((other) => <Cell key={other} fit={fits[name]} name={name} other={other} />)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="hint">Beside the concept’s own change there: 0 % is nothing, 100 % as much as its own.</p>
    </section>
  );
}

function Cell({ fit, name, other }: { fit: Fit | undefined; name: string; other: string }) {
  const share = name === other || !fit ? undefined : takenBy(fit, other);
  if (share === undefined) return <td class="faint">–</td>;
  const fill = `${Math.round(Math.min(1, share / kMuch) * 55)}%`;
  return (
    <td title={`${other} adds ${percent(share)} of ${name}’s own change`}>
      <span class="take" style={{ '--fill': fill }}>{percent(share)}</span>
    </td>
  );
}
