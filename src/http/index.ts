// The exports of deferq/http: the interface between applications, its signatures, and a client with the types of the tasks alone.

import type { DeferQOptions } from '../deferq.ts'
import { DeferQ } from '../deferq.ts'
import type { AnyTask } from '../tasks/task.ts'

export {
  type Keys,
  keysOf,
  type RequestLine,
  type SignatureHeaders,
  sign,
  type Unsigned,
  type Verified,
  verify,
} from '../signing/signature.ts'
export { createHandler, type Handler } from './handler.ts'
export { toNodeListener } from './node.ts'
export type { HandlerOptions } from './options.ts'

/**
 * A deferq behind an HTTP interface, typed by tasks that are not here: `createClient<typeof tasks>({ url, secret })`, with
 * `import type { tasks }`. A process that has the tasks uses `new DeferQ({ url, secret, tasks })`, which checks params before they leave.
 */
export function createClient<const Tasks extends readonly AnyTask[]>(
  options: Pick<DeferQOptions<Tasks>, 'secret' | 'limits' | 'logger'> & { url: string },
): DeferQ<Tasks> {
  return new DeferQ<Tasks>(options)
}
