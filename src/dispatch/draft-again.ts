// The draft that runs a failed or cancelled run again, with the params and options it had.
import { DeferqError } from '../base/errors.ts'
import type { Draft, Entry } from '../contract/engine.ts'
import { idOf, keyOf, newRun } from '../values/fingerprint.ts'

/** A failed or cancelled run once more, with the params and options that it had; `run` is the random part of the new id. */
export function anew(
  { id, name, queue, status, params, priority, policy, extra, group }: Entry,
  run: string = newRun(),
): Draft {
  if (status !== 'failed' && status !== 'cancelled') {
    throw new DeferqError(
      'NOT_FINISHED',
      `The run ${id.slice(0, 12)}… is ${status}: only what failed or was cancelled can be retried.`,
    )
  }
  const draft: Draft = {
    id: idOf(keyOf(id), run),
    name,
    queue,
    params,
    priority,
    policy,
    delayMs: 0,
    refresh: true,
  }
  if (extra !== undefined) draft.extra = extra
  if (group !== undefined) draft.group = group
  return draft
}
