// The routes of batches: many tasks under one id.

import type { BatchOptions, BatchStatus } from '../batch/index.ts'
import { isId } from '../values/fingerprint.ts'
import type { Answer } from './call.ts'
import { Refusal } from './call.ts'
import { callbacksOf, membersOf, optionsOf, paramsOf, recordOf } from './parse-request.ts'
import { json, tagOf } from './render.ts'
import type { Inside, Visit } from './tasks.ts'

const MEMBERS = ['items', 'queue', 'together', 'retention', 'then', 'catch', 'finally']

export async function postBatch({ deferq, gate }: Inside, { call, body, base }: Visit): Promise<Answer> {
  const { items, ...options } = membersOf(call, body, MEMBERS)
  if (!Array.isArray(items)) throw new Refusal(422, 'items must be a list of { name, params, options }.')
  const members = items.map((item: unknown) => {
    const given = recordOf(item, ['name', 'params', 'options'], 'An item')
    const { name, options } = given
    return {
      name: gate.named(name),
      params: paramsOf(given),
      options: optionsOf(options, gate, name as string),
    }
  })
  for (const hook of ['then', 'catch', 'finally'])
    if (options[hook] !== undefined) options[hook] = callbacksOf(options[hook], gate)
  const status = await deferq.batch(members as never, options as BatchOptions)
  return shown(status, { location: `${base}/batches/${status.id}` }, status.pending === 0 ? 200 : 202)
}

export async function getBatch({ deferq }: Inside, { call, id }: Visit): Promise<Answer> {
  const status = await deferq.getBatch(known(id))
  const etag = tagOf(JSON.stringify(status))
  if (call.header('if-none-match')?.includes(etag)) return { status: 304, headers: { etag } }
  return shown(status, { etag })
}

export async function deleteBatch({ deferq }: Inside, { call, id }: Visit): Promise<Answer> {
  const { searchParams } = new URL(call.target, 'http://here')
  return shown(await deferq.cancelBatch(known(id), searchParams.get('reason')?.slice(0, 1_000)))
}

function shown(status: BatchStatus, headers: Record<string, string> = {}, code = 200): Answer {
  const waiting: Record<string, string> = status.pending === 0 ? {} : { 'retry-after': '1' }
  return json(code, JSON.stringify(status), { ...headers, ...waiting })
}

function known(id: string): string {
  if (isId(id)) return id
  throw new Refusal(404, 'There is no such batch: an id is 88 hexadecimal characters.')
}
