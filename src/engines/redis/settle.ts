// How outcomes are spelled for the script of settle and claim (lua/settle.lua).
import type { AttemptOutcome } from '../../contract/engine.ts'
import { endedPlainly } from './claimed-run.ts'
import { followText, shortId } from './ids.ts'

/** `tag`: the shard's, with which its Redis keys begin. */
export function outcomeArgs(outcomes: readonly AttemptOutcome[], tag: string): string[] {
  const args: string[] = []
  let row: { kind: string; watchers: string; keys: string[]; rest: string[] } | undefined
  const endRow = (): void => {
    if (row === undefined) return
    args.push(`C${row.keys.length}`, row.kind, row.watchers, ...row.keys, ...row.rest)
    row = undefined
  }
  for (const outcome of outcomes) {
    const run = endedPlainly(outcome)
    const watchers = run?.watchers
    if (run !== undefined && watchers !== undefined && outcome.kind === 'completed') {
      if (run.kind !== row?.kind || watchers !== row.watchers) {
        endRow()
        row = { kind: run.kind, watchers, keys: [], rest: [] }
      }
      row.keys.push(`${tag}e:${run.key}`)
      row.rest.push(run.text, outcome.result)
      continue
    }
    endRow()
    const then = outcome.then ?? []
    const drafts = then.length === 0 ? '' : `+${then.length}`
    let how = 'l'
    let value = ''
    if (outcome.kind === 'completed') {
      how = 'c'
      value = outcome.result
    } else if (outcome.kind === 'failed') {
      how = 'f'
      value = outcome.error
    } else if (outcome.kind === 'retry') {
      how = `r${Math.max(0, Math.round(outcome.delayMs))}`
      value = outcome.error
    } else if (outcome.kind === 'cancelled') {
      how = 'x'
      value = outcome.error
    } else {
      const { dueAt, params } = outcome
      how = `l${dueAt === undefined ? '' : Math.max(0, Math.round(dueAt))}${params === undefined ? '' : 'p'}`
      value = params ?? ''
    }
    const id = shortId(outcome.id)
    args.push(how + drafts, id.slice(0, 43), id.slice(43), outcome.token, value)
    for (const draft of then) args.push(followText({ on: 'both', draft }))
  }
  endRow()
  return args
}
