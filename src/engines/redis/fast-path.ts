// Reads what the short path of one draft (lua/shared/admit-alone.lua) answers: the text of the run that has begun.
import type { Draft, Verdict } from '../../contract/engine.ts'
import { HeldRun } from './claimed-run.ts'
import { created, shapeOf } from './encode-admit.ts'

// Where in the arguments of admitArgs() for one draft stand as whom the asking instance waits, and the id.
const MEMBER = 0
const IDS = 5

/** What admit was asked with, and the text that the draft has become. */
export function begunAlone(draft: Draft, args: readonly string[], text: string): [Verdict, HeldRun] {
  const member = args[MEMBER] as string
  const key = (args[IDS] as string).slice(0, 43)
  const watchers = draft.watch ? member.slice(0, 8) : ''
  const run = HeldRun.begun(draft, `${member}.h`, key, text, shapeOf(draft).kind, watchers)
  return [{ outcome: 'created', entry: created(draft, run.entry.createdAt), sameParams: true }, run]
}
