// The fingerprint: which dispatches share a key, which don't, and that the key is what any language computes.
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DeferqError } from '../../src/base/errors.ts'
import { encode } from '../../src/values/encode.ts'
import type { FingerprintInput } from '../../src/values/fingerprint.ts'
import { fingerprint, followUpKey, idOf, isId, isKey, keyOf, newRun } from '../../src/values/fingerprint.ts'

const numRuns = Number(process.env.DEFERQ_FUZZ_RUNS ?? 300)

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const name = 'report.generate'
const params = { year: 2024, format: 'xlsx' }
const known = '78353e79e0921ef8149b7248d9d2d0644763d248e638aac1b80d5787f3a721f0'

function keyFor(input: Partial<FingerprintInput>): string {
  return fingerprint({ name, params, ...input } as FingerprintInput).key
}

function failure(input: Partial<FingerprintInput<never>>): DeferqError {
  try {
    keyFor(input as Partial<FingerprintInput>)
  } catch (error) {
    expect(error).toBeInstanceOf(DeferqError)
    return error as DeferqError
  }
  throw new Error('nothing was thrown')
}

describe('a key', () => {
  it('is the published one, in any order of properties', () => {
    const text = '{"format":"xlsx","year":2024}'
    expect(fingerprint({ name, params })).toEqual({ key: known, text, narrowed: false })
    expect(fingerprint({ name, params: { format: 'xlsx', year: 2024 } })).toEqual({
      key: known,
      text,
      narrowed: false,
    })
  })

  it.each<[Partial<FingerprintInput>, string]>([
    [{}, '{"name":"report.generate","params":{"format":"xlsx","year":2024}}'],
    [{ params: undefined }, '{"name":"report.generate","params":{"$deferq":["undefined"]}}'],
    [{ params: null }, '{"name":"report.generate","params":null}'],
    [{ scope: 'acme' }, '{"name":"report.generate","params":{"format":"xlsx","year":2024},"scope":"acme"}'],
    [{ version: 2 }, '{"name":"report.generate","params":{"format":"xlsx","year":2024},"version":2}'],
    [{ params: 1, version: '2', scope: 7 }, '{"name":"report.generate","params":1,"scope":7,"version":"2"}'],
    [{ key: () => 'k', scope: '' }, '{"name":"report.generate","params":"k","scope":""}'],
    [{ ignore: ['format'] }, '{"name":"report.generate","params":{"year":2024}}'],
    [{ idempotencyKey: 'i', version: 3 }, '{"idempotencyKey":"i","name":"report.generate"}'],
    [
      { idempotencyKey: 'i', scope: 'acme' },
      '{"idempotencyKey":"i","name":"report.generate","scope":"acme"}',
    ],
    [{ name: 'a"\n€', params: 1 }, '{"name":"a\\"\\n€","params":1}'],
  ])('for %j is the hash of %s', (input, text) => {
    expect(keyFor(input)).toBe(sha256(text))
  })

  it('is that of the whole object encoded at once, whatever it holds', () => {
    const label = fc.option(fc.oneof(fc.string({ unit: 'binary' }), fc.integer()), { nil: undefined })
    const names = fc.string({ unit: 'binary' })
    const json = fc
      .jsonValue({ stringUnit: 'binary' })
      .filter((value) => !JSON.stringify(value).includes('"__proto__"'))
    fc.assert(
      fc.property(names, json, label, label, (name, params, scope, version) => {
        const { key, text } = fingerprint({ name, params, scope, version })
        expect(key).toBe(sha256(encode({ name, params, scope, version })))
        expect(text).toBe(encode(params))
      }),
      { numRuns },
    )
  })

  it('differs with every part, and with the type of a part', () => {
    const inputs: Partial<FingerprintInput>[] = [
      {},
      { name: 'report' },
      { params: { year: 2024 } },
      { scope: 1 },
    ]
    inputs.push(
      { scope: '1' },
      { version: 1 },
      { version: '1' },
      { scope: 1, version: 1 },
      { idempotencyKey: '1' },
    )
    inputs.push({ idempotencyKey: '1', scope: 1 }, { params: { year: '2024', format: 'xlsx' } })
    inputs.push({ params: [params] }, { params: { year: 2024n, format: 'xlsx' } })
    expect(new Set(inputs.map(keyFor)).size).toBe(inputs.length)
  })
})

describe('a narrowed key', () => {
  it('stands for what the key function answers, and the full params are kept', () => {
    const key = ({ id }: { id: number }) => [id, new Date(0)]
    const one = fingerprint({ name, params: { id: 1, trace: 'x' }, key })
    expect(one).toEqual({
      key: keyFor({ params: [1, new Date(0)] }),
      text: '{"id":1,"trace":"x"}',
      narrowed: true,
    })
    expect(fingerprint({ name, params: { id: 1, trace: 'y' }, key }).key).toBe(one.key)
  })

  it('leaves out the ignored properties, also nested ones', () => {
    const ignore = ['traceId', 'meta.at', 'meta.deep.er', 'missing.too']
    const value = { ...params, traceId: 'x', meta: { at: new Date(), who: 'me', deep: { er: 1 } } }
    const { key, text, narrowed } = fingerprint({ name, params: value, ignore })
    expect(key).toBe(keyFor({ params: { ...params, meta: { who: 'me', deep: {} } } }))
    expect([text, narrowed]).toEqual([encode(value), true])
  })

  it('is not narrowed by an empty list', () => {
    expect(fingerprint({ name, params, ignore: [] })).toEqual(fingerprint({ name, params }))
  })

  it('keeps Maps where they were when a neighbour is left out', () => {
    const value = { a: new Map([[1, new Set([2])]]), b: new Set([1]), c: new Map() }
    expect(keyFor({ params: value, ignore: ['a'] })).toBe(keyFor({ params: { b: value.b, c: value.c } }))
    expect(keyFor({ params: value, ignore: ['b'] })).toBe(keyFor({ params: { a: value.a, c: value.c } }))
  })

  it('can ignore neither the inside of a tag nor anything of a prototype', () => {
    for (const value of [new Date(0), { a: new Set([1]) }, [1, 2], 'text', null, undefined]) {
      expect(keyFor({ params: value, ignore: ['$deferq', 'a.$deferq', '0', 'length'] })).toBe(
        keyFor({ params: value }),
      )
    }
    keyFor({ ignore: ['__proto__.toString', 'constructor.prototype.toString', 'constructor.name'] })
    expect([String({}), Object.name]).toEqual(['[object Object]', 'Object'])
  })

  it('reads params once, and leaves them as they were', () => {
    let reads = 0
    const value = {
      get a() {
        return ++reads
      },
      traceId: 1,
    }
    expect(fingerprint({ name, params: value, ignore: ['traceId'] }).text).toBe('{"a":1,"traceId":1}')
    expect([reads, value.traceId]).toEqual([1, 1])
  })

  it('stands for the idempotency key alone, and the params are kept', () => {
    const one = fingerprint({ name, params, idempotencyKey: 'i', version: 1 })
    expect(one).toEqual(fingerprint({ name, params, idempotencyKey: 'i', version: 2, key: () => 1 }))
    expect([one.text, one.narrowed]).toEqual(['{"format":"xlsx","year":2024}', true])
    expect(one.key).toBe(keyFor({ params: 'other', idempotencyKey: 'i' }))
  })
})

describe('what is refused', () => {
  it.each<[string, Partial<FingerprintInput<never>>, string, string]>([
    [
      'params that cannot be encoded',
      { params: { a: [() => 1] } as never },
      'UNHASHABLE_PARAMS',
      'params.a[0]',
    ],
    [
      'such params although a key function leaves them out',
      { params: [/x/] as never, key: () => 1 },
      'UNHASHABLE_PARAMS',
      'params[0]',
    ],
    [
      'params over a limit',
      { params: [1, [2]] as never, limits: { depth: 1 } },
      'PARAMS_TOO_LARGE',
      'params[1]',
    ],
    ['an asynchronous key function', { key: async () => 1 }, 'UNHASHABLE_PARAMS', 'key(params)'],
    [
      'a key function that returns NaN',
      { key: () => ({ id: Number.NaN }) },
      'UNHASHABLE_PARAMS',
      'key(params).id',
    ],
    ['a key function that returns undefined', { key: () => undefined }, 'UNHASHABLE_PARAMS', 'key(params)'],
    ['an empty idempotency key', { idempotencyKey: '' }, 'INVALID_OPTION', 'idempotencyKey'],
    [
      'an idempotency key of 513 characters',
      { idempotencyKey: 'x'.repeat(513) },
      'INVALID_OPTION',
      'idempotencyKey',
    ],
    [
      'an idempotency key that is no string',
      { idempotencyKey: 1 as never },
      'INVALID_OPTION',
      'idempotencyKey',
    ],
    ['an idempotency key cut in two', { idempotencyKey: '\ud800' }, 'UNHASHABLE_PARAMS', 'idempotencyKey'],
    ['a name cut in two', { name: '\ud800' }, 'UNHASHABLE_PARAMS', 'name'],
    ['a scope that is not a number', { scope: Number.NaN }, 'UNHASHABLE_PARAMS', 'scope'],
    ['a version that is infinite', { version: Number.POSITIVE_INFINITY }, 'UNHASHABLE_PARAMS', 'version'],
  ])('%s', (_, input, code, path) => {
    const error = failure(input)
    expect([error.code, error.details?.path]).toEqual([code, path])
    expect(error.message).toContain(path === 'key(params)' ? 'key' : path)
  })

  it('a key function that throws, with its cause', () => {
    const cause = new Error('no id')
    const error = failure({
      key: () => {
        throw cause
      },
    })
    expect([error.code, error.cause]).toEqual(['UNHASHABLE_PARAMS', cause])
    expect(error.message).toContain(`'${name}' threw: no id`)
  })

  it('an idempotency key of 512 characters is not', () => {
    expect(isKey(keyFor({ idempotencyKey: 'x'.repeat(512) }))).toBe(true)
  })
})

describe('ids', () => {
  it('hold the key and a random part, and tell them apart again', () => {
    const id = idOf(known, newRun())
    expect(isId(id)).toBe(true)
    expect(keyOf(id)).toBe(known)
  })

  it('have a random part that does not repeat when the pool is filled anew', () => {
    const runs = Array.from({ length: 5000 }, newRun)
    expect(new Set(runs).size).toBe(runs.length)
    expect(runs.every((run) => /^[0-9a-f]{24}$/.test(run))).toBe(true)
  })

  it('know a key and an id from anything else', () => {
    const id = known + '0'.repeat(24)
    expect([isKey(known), isId(id)]).toEqual([true, true])
    const others = [
      '',
      known.slice(1),
      known.toUpperCase(),
      `${known}\n`,
      `${id}0`,
      ` ${id}`,
      id.replace('7', 'g'),
    ]
    for (const other of [...others, undefined, null, 1, [known], [id]]) {
      expect([isKey(other), isId(other)]).toEqual([false, false])
    }
  })

  it('give a follow-up a key in the shard of its parent', () => {
    const key = followUpKey(known, 'seed')
    expect(key).toBe(known.slice(0, 8) + sha256('seed').slice(8))
    expect(isKey(key)).toBe(true)
    expect(followUpKey(known, 'other')).not.toBe(key)
  })
})
