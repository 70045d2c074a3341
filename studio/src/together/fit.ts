/// What a fusion's own report says of each concept (fusion_report.json): how far it is from its own
/// weights before and after, and how much the others add to what it puts out.

export interface Fit {
  before: number;
  after: number;
  crosstalk: number;
}

export interface FusionFacts {
  method: string;
  concepts: string[];
  stages: string[];
  total: Record<string, Fit>; ///< By concept.
  byStage: Record<string, Record<string, Fit>>; ///< By stage, then concept.
}

interface Layer {
  stage: string;
  concepts?: Record<string, Partial<Fit>>;
}

export function factsOf(report: Record<string, unknown>): FusionFacts {
  const layers = (Array.isArray(report.layers) ? report.layers : []) as Layer[];
  const concepts = (Array.isArray(report.concepts) ? report.concepts : []) as string[];
  const stages = [...new Set(layers.map((layer) => layer.stage))];
  const byStage: FusionFacts['byStage'] = {};
  const total: FusionFacts['total'] = {};
  for (const { stage, concepts: fits = {} } of layers) {
    for (const [name, fit] of Object.entries(fits)) {
      byStage[stage] ??= {};
      byStage[stage]![name] = sum(byStage[stage]![name], fit);
      total[name] = sum(total[name], fit);
    }
  }
  return { method: String(report.method ?? ''), concepts, stages, total, byStage };
}

function sum(a: Fit | undefined, b: Partial<Fit>): Fit {
  return {
    before: (a?.before ?? 0) + (b.before ?? 0),
    after: (a?.after ?? 0) + (b.after ?? 0),
    crosstalk: (a?.crosstalk ?? 0) + (b.crosstalk ?? 0),
  };
}

/// The share of a concept's own change that is still there, as its layers' outputs say; 0 to 1.
export function kept(fit: Fit): number {
  return fit.before > 0 ? Math.max(0, Math.min(1, 1 - fit.after / fit.before)) : 1;
}

/// How much of what is lost comes from the others, beside the concept's own change.
export function taken(fit: Fit): number {
  return fit.before > 0 ? Math.max(0, Math.min(1, fit.crosstalk / fit.before)) : 0;
}
