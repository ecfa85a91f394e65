// What a webhook tells: how the run that it follows has ended, as one JSON text.
import { errorToJson } from '../base/errors.ts'
import type { Ended } from '../tasks/task.ts'

/** `at`: when the run ended, which is when its webhook was created, by the store's clock. `name`: what the receiver knows the task as. */
export function outcomeText(ended: Ended, at: Date, name = ended.name): string {
  const { id, status } = ended
  const { name: type, code, message: said } = errorToJson(ended.error)
  const message = said?.replaceAll(`'${ended.name}'`, `'${name}'`)
  const told =
    status === 'completed'
      ? { result: ended.result ?? null }
      : { error: { name: type, ...(code === undefined ? {} : { code }), message } }
  const outcome = {
    type: `task.${status}`,
    timestamp: at.toISOString(),
    data: { id, name, status, ...told },
  }
  return JSON.stringify(outcome, inJson)
}

/** What JSON has no word for, in the form that comes closest; dates write themselves. */
function inJson(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Map || value instanceof Set) return [...value]
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value
}
