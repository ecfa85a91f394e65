// The key of params with so many fields, beside a stable stringify and SHA-256 by hand: a case for each number.
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { DIST } from './contenders.mjs'

export const unit = '/s'
export const engines = ['redis', 'memory']

const NAME = 'report.generate'

export function fingerprints(count) {
  const params = Object.fromEntries(
    Array.from({ length: count }, (_, index) => [`field${(index * 7) % count}`, `value ${index}`]),
  )
  return {
    contenders: {
      async deferq() {
        const { fingerprint } = await import(new URL('src/index.js', DIST))
        return { call: () => fingerprint({ name: NAME, params }).key, close: () => {} }
      },
      'by hand'() {
        const stringify = createRequire(new URL('src/index.js', DIST))('fast-json-stable-stringify')
        const keyOf = () => createHash('sha256').update(stringify({ name: NAME, params }))
        return { call: () => keyOf().digest('hex'), close: () => {} }
      },
    },
    measure({ call }, size) {
      const began = performance.now()
      for (let index = 0; index < size; index++) call()
      return size / ((performance.now() - began) / 1_000)
    },
  }
}
