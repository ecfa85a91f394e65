// The HTTP interface: one handler from a web Request to a Response, wherever it is mounted.

import { DeferqError } from '../base/errors.ts'
import { unfailing } from '../base/log.ts'
import { DeferQ } from '../deferq.ts'
import { HTTP_REQUEST } from '../tasks/options.ts'
import type { AnyTask } from '../tasks/task.ts'
import { deleteBatch, getBatch, postBatch } from './batches.ts'
import type { Answer, Call } from './call.ts'
import { Refusal } from './call.ts'
import { postDispatches, postRetries } from './dispatches.ts'
import { Gate } from './exposed-engine.ts'
import { checkLocal, localOnly, signed } from './guard.ts'
import { Nonces } from './nonces.ts'
import { OPENAPI } from './openapi.ts'
import type { HandlerOptions } from './options.ts'
import { settingsOf } from './options.ts'
import { problem } from './problem.ts'
import { json } from './render.ts'
import { getStats, listRuns, postCancellations, postPromotions, postReads, postWaits } from './runs.ts'
import type { Inside, Visit } from './tasks.ts'
import { deleteTask, getTask, postInvalidation, postTask, taskEvents } from './tasks.ts'
import { Watch } from './watch.ts'
import { callOf, responseOf } from './web.ts'

export interface Handler {
  (request: Request): Promise<Response>
  /** Never rejects. What toNodeListener() calls. */
  readonly answer: (call: Call) => Promise<Answer>
}

type Route = (inside: Inside, visit: Visit) => Promise<Answer>

export const ROUTES: Readonly<Record<string, Readonly<Record<string, Route>>>> = {
  tasks: { POST: postTask },
  'tasks/id': { GET: getTask, DELETE: deleteTask },
  'tasks/id/events': { GET: taskEvents },
  batches: { POST: postBatch },
  'batches/id': { GET: getBatch, DELETE: deleteBatch },
  invalidations: { POST: postInvalidation },
  dispatches: { POST: postDispatches },
  retries: { POST: postRetries },
  runs: { GET: listRuns },
  reads: { POST: postReads },
  waits: { POST: postWaits },
  cancellations: { POST: postCancellations },
  promotions: { POST: postPromotions },
  stats: { GET: getStats },
}
const FIRST = new Set(Object.keys(ROUTES).map((route) => route.split('/', 1)[0] as string))
/** By the tail of the path, so that the handler can be mounted below any other. */
const TAIL = new RegExp(`^(.*)/(${[...FIRST].join('|')}|openapi\\.json)(?:/([^/]+)(/events)?)?/?$`)

/** Serves what is allowed of a deferq to whoever signs with one of the secrets. */
// biome-ignore lint/suspicious/noExplicitAny: whatever tasks it knows
export function createHandler(deferq: DeferQ<any>, options: HandlerOptions): Handler {
  const { keys, allow, aliases, webhooks, maxWaitMs, maxBody } = settingsOf(options)
  const tasks = deferq.tasks as ReadonlyMap<string, AnyTask> | undefined
  for (const name of [...allow, ...Object.values(aliases)]) {
    if (tasks === undefined || tasks.has(name)) continue
    throw new DeferqError(
      'UNKNOWN_TASK',
      `createHandler(): there is no task '${name}' to offer. Known: ${[...tasks.keys()].join(', ') || 'none'}.`,
    )
  }
  if (webhooks !== undefined && tasks?.has(HTTP_REQUEST) === false) {
    throw new DeferqError(
      'UNKNOWN_TASK',
      'createHandler(): webhooks are sent by httpRequest() of deferq/requests, which is not among the tasks: new DeferQ({ tasks: [httpRequest(), …] }).',
    )
  }
  const log = unfailing(deferq.logger)
  const engine = () => deferq.open()
  const gate = new Gate({ engine, listen: (hear) => deferq.listen(hear), allow, aliases, webhooks })
  const { defaults, limits, logger } = deferq
  const inside: Inside = {
    deferq: new DeferQ({
      engine: gate,
      defaults,
      logger,
      ...(tasks === undefined ? {} : { tasks: [...tasks.values()] }),
      ...(limits === undefined ? {} : { limits }),
    }),
    gate,
    watch: new Watch(gate),
    maxWaitMs,
  }
  const guard = keys === undefined ? localOnly(maxBody) : signed(keys, new Nonces(engine, log), maxBody)
  const masked = (text: string): string => gate.masked(text)

  const answer = async (call: Call): Promise<Answer> => {
    try {
      const path = call.target.split('?', 1)[0] as string
      const [, base = '', first, id = '', events] = TAIL.exec(path) ?? []
      if (first === 'openapi.json' && id === '') {
        // No secret in it; a tool that reads it can't sign.
        if (keys === undefined) checkLocal(call)
        methodOf(call, { GET: undefined })
        return json(200, OPENAPI)
      }
      const place = `${first}${id === '' ? '' : '/id'}${events ?? ''}`
      const methods = first === undefined ? undefined : ROUTES[place]
      if (methods === undefined) throw new Refusal(404, 'There is nothing at this path.')
      const route = methodOf(call, methods) as Route
      const body = await guard(call)
      return await route(inside, { call, body, base, id })
    } catch (error) {
      return problem(error, log, masked)
    }
  }
  const handler = async (request: Request): Promise<Response> => responseOf(await answer(callOf(request)))
  return Object.assign(handler, { answer })
}

function methodOf<T>({ method }: Call, methods: Record<string, T>): T {
  const known = method === 'HEAD' && 'GET' in methods ? 'GET' : method
  if (Object.hasOwn(methods, known)) return methods[known] as T
  const allow = Object.keys(methods).join(', ')
  throw new Refusal(405, `There is no ${method.slice(0, 20)} at this path, but ${allow}.`, { allow })
}
