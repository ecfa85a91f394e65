// The key of a task with 3, 30 and 300 fields, beside a stable stringify and SHA-256 by hand.
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { DIST } from '../contenders.mjs'

export const title = 'fingerprint: keys of params, by their number of fields'
export const unit = '/s'
export const size = { full: 60_000, quick: 20_000 }
export const engines = ['redis', 'memory']

const fieldsOf = (count) =>
  Object.fromEntries(
    Array.from({ length: count }, (_, index) => [`field${(index * 7) % count}`, `value ${index}`]),
  )

const keys = (count) => async () => {
  const { fingerprint } = await import(new URL('src/index.js', DIST))
  const params = fieldsOf(count)
  return { count, call: () => fingerprint({ name: 'report.generate', params }).key, close: () => {} }
}

const byHand = (count) => async () => {
  const stringify = createRequire(new URL('src/index.js', DIST))('fast-json-stable-stringify')
  const params = fieldsOf(count)
  const call = () =>
    createHash('sha256')
      .update(stringify({ name: 'report.generate', params }))
      .digest('hex')
  return { count, call, close: () => {} }
}

export const contenders = {
  deferq: keys(3),
  'by hand': byHand(3),
  'deferq, 30 fields': keys(30),
  'by hand, 30 fields': byHand(30),
  'deferq, 300 fields': keys(300),
  'by hand, 300 fields': byHand(300),
}

export function measure({ call, count }, size) {
  const times = Math.ceil(size / count)
  const began = performance.now()
  for (let index = 0; index < times; index++) call()
  return times / ((performance.now() - began) / 1_000)
}
