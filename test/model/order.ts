// The order of claims in the model: which pending runs a claim may give out next.
import type { Want } from '../../src/contract/engine.ts'
import type { Model } from './model.ts'
import type { ModelRun } from './records.ts'

/** How much of the order a store promises. `none`: the broker has an order of its own, once a run has changed. */
export type Order = 'none' | Promised

interface Promised {
  /** Of equal priority and due time, the one that was born first comes first. `drafts`: of drafts; of follow-ups only if different commands bore them. */
  firstInFirstOut: boolean | 'drafts'
  /** False: a group may lose its turn when its last waiting run is claimed, or gets another priority. */
  turns?: false
}

/** By priority, then due time, then birth. 0: either may come first. */
function inOrder(a: ModelRun, b: ModelRun, order: Order): number {
  if (order === 'none') return 0
  return (
    b.priority - a.priority ||
    a.dueAt - b.dueAt ||
    (order.firstInFirstOut ? a.birth[0] - b.birth[0] || a.birth[1] - b.birth[1] : 0)
  )
}

/** The runs that may come first: none of the others must come before them. */
function heads(runs: readonly ModelRun[], order: Order): ModelRun[] {
  return runs.filter((run) => runs.every((other) => inOrder(run, other, order) <= 0))
}

/** Every run that a claim may give out next; empty if it must give out none. */
export function claimable(model: Model, want: Want, order: Order): ModelRun[] {
  const plain: ModelRun[] = []
  const grouped = new Map<string, Map<string, ModelRun[]>>()
  for (const run of model.runs.values()) {
    if (!isReady(model, run) || !isWanted(model, run, want)) continue
    const { name, group } = run
    if (group === undefined) {
      plain.push(run)
    } else if (model.groups.isOpen(name, group, want.limits?.[name] ?? {}, model.now)) {
      const groups = grouped.get(name) ?? new Map<string, ModelRun[]>()
      grouped.set(name, groups)
      groups.set(group, [...(groups.get(group) ?? []), run])
    }
  }
  // Across groups the contract promises no order: the plain runs and each name with groups have a first one of their own.
  const first = plain.length > 0 ? heads(plain, order) : []
  for (const [name, groups] of grouped) first.push(...headsOfName(model, name, groups, order))
  return first
}

/** The first runs of the groups whose turn it may be. */
function headsOfName(model: Model, name: string, groups: Map<string, ModelRun[]>, order: Order): ModelRun[] {
  const inTurn = order !== 'none' && order.turns !== false
  const turns = [...groups].filter(
    ([group]) =>
      !inTurn ||
      [...groups.keys()].every((other) => other === group || !model.groups.isFirst(name, other, group)),
  )
  return turns.flatMap(([, runs]) => heads(runs, order))
}

function isReady(model: Model, run: ModelRun): boolean {
  return run.status === 'pending' && run.dueAt <= model.now && model.keys.get(run.key)?.behind !== run
}

export function isWanted(model: Model, { name, queue }: ModelRun, { names, queues }: Want): boolean {
  if (!names.includes(name) || (queues !== undefined && !queues.includes(queue))) return false
  return !model.paused.has(`queue ${queue}`) && !model.paused.has(`name ${name}`)
}
