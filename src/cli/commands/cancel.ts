// The commands that end or forget work: cancel and invalidate.
import { DeferqError } from '../../base/errors.ts'
import { isId } from '../../values/fingerprint.ts'
import type { Answer } from '../command.ts'
import { command } from '../command.ts'
import { usage } from '../flags.ts'
import { paramsOf } from './dispatch.ts'

const cancel = command({
  name: 'cancel',
  takes: '<id>',
  about: 'end a run for everybody who waits for it',
  more: 'The exit code is 1 when it had ended already.',
  flags: { reason: { kind: 'text', value: 'text', about: 'what those who wait are told' } },
  async run(scene): Promise<Answer> {
    const [taskId] = scene.positionals as [string]
    const deferq = await scene.deferq()
    const answer = await deferq.cancel(taskId, scene.values.reason)
    if (answer === 'unknown') {
      throw new DeferqError(
        'TASK_NOT_FOUND',
        'No run has this id: it never was, or its retention is over. Nothing was cancelled.',
        { details: { taskId } },
      )
    }
    const cancelled = answer === 'cancelled'
    const text = cancelled ? scene.paint('green', 'cancelled') : 'too late: the run had ended already'
    return { document: { taskId, cancelled, answer }, text, code: cancelled ? 0 : 1 }
  },
})

const invalidate = command({
  name: 'invalidate',
  takes: '<id|name> [params-json]',
  about: 'forget results, so that the next dispatch runs anew',
  more: 'An id or a name with params forgets that one result, a name alone all results of the task.',
  flags: {
    scope: { kind: 'text', value: 'text', about: 'of this scope' },
    'idempotency-key': { kind: 'text', value: 'text', about: 'dispatched under this key' },
  },
  async run(scene): Promise<Answer> {
    const [what, json] = scene.positionals as [string, string?]
    const { scope, 'idempotency-key': idempotencyKey } = scene.values
    if (isId(what) && (json ?? scope ?? idempotencyKey) !== undefined)
      throw usage('An id says it all: leave out the params and flags beside it.')
    const deferq = await scene.deferq()
    if (!isId(what) && deferq.tasks?.has(what) === false) {
      throw new DeferqError(
        'UNKNOWN_TASK',
        `There is no task '${what}' in the bootstrap file. Known: ${[...deferq.tasks.keys()].join(', ') || 'none'}.`,
      )
    }
    const one = json !== undefined || scope !== undefined || idempotencyKey !== undefined
    const options = {
      ...(scope === undefined ? {} : { scope }),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    }
    const count: number = one
      ? await deferq.invalidate(what, await paramsOf(json), options)
      : await deferq.invalidate(what)
    const text =
      count === 0
        ? 'Nothing was there to forget.'
        : `${count} ${count === 1 ? 'result' : 'results'} forgotten`
    return { document: { invalidated: count }, text }
  },
})

export const ENDING = [cancel, invalidate]
