// Compares what a store answers with what the model says. Moments may differ by the time that a real server lets pass.
import { isDeepStrictEqual } from 'node:util'
import type { Standing } from '../../src/contract/engine.ts'
import type { ModelRun } from './records.ts'

export class Difference extends Error {
  constructor(where: string, theirs: unknown, ours: unknown) {
    super(`${where}\n  store: ${JSON.stringify(theirs)}\n  model: ${JSON.stringify(ours)}`)
    this.name = 'Difference'
  }
}

export function same(where: string, theirs: unknown, ours: unknown): void {
  if (!isDeepStrictEqual(theirs, ours)) throw new Difference(where, theirs, ours)
}

const MOMENTS = ['createdAt', 'dueAt', 'startedAt', 'finishedAt', 'freshUntil', 'staleUntil'] as const
const MAY_BE_ABSENT = ['startedAt', 'finishedAt', 'progress', 'result', 'freshUntil', 'staleUntil'] as const
const OF_WORKERS = ['params', 'policy', 'extra', 'group', 'parent'] as const

export interface Tolerance {
  /** The store's moment minus the model's for the same moment. */
  shiftMs: number
  withinMs: number
}

/** `whole`: an entry, with all that a worker needs; otherwise a standing. */
export function sameRun(
  where: string,
  theirs: Standing,
  run: ModelRun,
  whole: boolean,
  slack: Tolerance,
): void {
  const [shown, expected] = [plain(theirs), plain(run)]
  for (const moment of MOMENTS) {
    const [a, b] = [shown[moment] as number | undefined, expected[moment] as number | undefined]
    if (a === b) continue
    if (a === undefined || b === undefined || Math.abs(a - slack.shiftMs - b) > slack.withinMs)
      throw new Difference(`${where}: ${moment}`, a === undefined ? a : a - slack.shiftMs, b)
  }
  const compared = ['id', 'name', 'queue', 'status', 'priority', 'attempt', 'errors', 'progress', 'result']
  for (const field of whole ? [...compared, ...OF_WORKERS] : compared)
    same(`${where}: ${field}`, shown[field], expected[field])
}

function plain(run: Standing | ModelRun): Record<string, unknown> {
  const fields = { ...run } as unknown as Record<string, unknown>
  for (const field of MAY_BE_ABSENT) if (fields[field] === undefined) delete fields[field]
  fields.errors = run.errors.map(codeOf)
  const parent = fields.parent as { value?: string } | undefined
  if (parent?.value !== undefined) fields.parent = { ...parent, value: codeOf(parent.value) }
  return fields
}

/** Errors that the store itself adds are compared by their code: the text has moments in it. */
function codeOf(error: string): string {
  if (!error.startsWith('{')) return error
  const { error: said } = JSON.parse(error) as { error?: { code?: string } }
  return said?.code ?? error
}
