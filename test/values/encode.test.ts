// The codec: RFC 8785's own examples, every tag and every refusal, and properties over arbitrary values.
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DeferqError } from '../../src/base/errors.ts'
import { decode } from '../../src/values/decode.ts'
import { encode } from '../../src/values/encode.ts'
import type { About, Limits } from '../../src/values/limits.ts'

const numRuns = Number(process.env.DEFERQ_FUZZ_RUNS ?? 400)

function failure(run: () => unknown): DeferqError {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(DeferqError)
    return error as DeferqError
  }
  throw new Error('nothing was thrown')
}

function refusal(value: unknown, about?: About, limits?: Partial<Limits>): [string, unknown, string] {
  const { code, details, message } = failure(() => encode(value, about, limits))
  expect(message).toContain(details?.path)
  return [code, details?.path, message]
}

describe('RFC 8785', () => {
  it.each([
    ['0000000000000000', '0'],
    ['8000000000000000', '0'],
    ['0000000000000001', '5e-324'],
    ['8000000000000001', '-5e-324'],
    ['7fefffffffffffff', '1.7976931348623157e+308'],
    ['ffefffffffffffff', '-1.7976931348623157e+308'],
    ['4340000000000000', '9007199254740992'],
    ['c340000000000000', '-9007199254740992'],
    ['4430000000000000', '295147905179352830000'],
    ['44b52d02c7e14af5', '9.999999999999997e+22'],
    ['44b52d02c7e14af6', '1e+23'],
    ['44b52d02c7e14af7', '1.0000000000000001e+23'],
    ['444b1ae4d6e2ef4e', '999999999999999700000'],
    ['444b1ae4d6e2ef4f', '999999999999999900000'],
    ['444b1ae4d6e2ef50', '1e+21'],
    ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
    ['3eb0c6f7a0b5ed8d', '0.000001'],
    ['41b3de4355555553', '333333333.3333332'],
    ['41b3de4355555554', '333333333.33333325'],
    ['41b3de4355555555', '333333333.3333333'],
    ['41b3de4355555556', '333333333.3333334'],
    ['41b3de4355555557', '333333333.33333343'],
    ['becbf647612f3696', '-0.0000033333333333333333'],
    ['43143ff3c1cb0959', '1424953923781206.2'],
  ])('spells the number with the bits %s as %s', (bits, text) => {
    expect(encode(Buffer.from(bits, 'hex').readDoubleBE())).toBe(text)
  })

  it.each(['7fffffffffffffff', '7ff0000000000000'])('refuses the number with the bits %s', (bits) => {
    expect(refusal(Buffer.from(bits, 'hex').readDoubleBE())[0]).toBe('UNHASHABLE_PARAMS')
  })

  it('orders the properties of its sorting example by UTF-16 units', () => {
    const example = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    }
    expect(encode(example)).toBe(
      '{"\\r":"Carriage Return","1":"One","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis",' +
        '"\u20ac":"Euro Sign","\ud83d\ude00":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
    )
  })

  it('spells strings and literals as its first example does', () => {
    const example = {
      // biome-ignore lint/correctness/noPrecisionLoss: the example is about just that
      numbers: [333333333.33333329, 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: '\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"/',
      literals: [null, true, false],
    }
    expect(encode(example)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    )
  })
})

describe('tags', () => {
  it.each<[string, unknown, string]>([
    ['a Date', new Date('2024-01-01'), '{"$deferq":["Date","2024-01-01T00:00:00.000Z"]}'],
    ['a Date far away', new Date(8.64e15), '{"$deferq":["Date","+275760-09-13T00:00:00.000Z"]}'],
    ['a BigInt', 31n, '{"$deferq":["BigInt","0x1f"]}'],
    ['a negative BigInt', -31n, '{"$deferq":["BigInt","-0x1f"]}'],
    ['undefined', undefined, '{"$deferq":["undefined"]}'],
    ['bytes', new Uint8Array([1, 2, 255]), '{"$deferq":["bytes","AQL/"]}'],
    ['a Buffer', Buffer.from('hello').subarray(1, 3), '{"$deferq":["bytes","ZWw="]}'],
    ['an ArrayBuffer', new ArrayBuffer(1), '{"$deferq":["bytes","AA=="]}'],
    ['a Set', new Set(['b', 'a', 10, 9]), '{"$deferq":["Set",["a","b",10,9]]}'],
    [
      'a Map',
      new Map<unknown, unknown>([
        ['b', 1],
        [[2], 2],
        ['a', 3],
      ]),
      '{"$deferq":["Map",[["a",3],["b",1],[[2],2]]]}',
    ],
    ['an empty Map', new Map(), '{"$deferq":["Map",[]]}'],
    [
      'Maps in Sets in Maps',
      new Map([[new Set([new Map([[1n, undefined]])]), new Set([2, 1])]]),
      '{"$deferq":["Map",[[{"$deferq":["Set",[{"$deferq":["Map",[[{"$deferq":["BigInt","0x1"]},' +
        '{"$deferq":["undefined"]}]]]}]]},{"$deferq":["Set",[1,2]]}]]]}',
    ],
  ])('writes %s, and reads it back', (_, value, text) => {
    expect(encode(value)).toBe(text)
    expect(encode({ in: [value] })).toBe(`{"in":[${text}]}`)
    const read = decode(text)
    expect(sameValue(read, value)).toBe(true)
    expect(encode(read)).toBe(text)
  })

  it('brings bytes back as a Uint8Array, whatever held them', () => {
    expect(Object.getPrototypeOf(decode(encode(Buffer.from('x'))))).toBe(Uint8Array.prototype)
  })

  it('writes undefined in arrays and holes as undefined, and leaves undefined properties out', () => {
    // biome-ignore lint/suspicious/noSparseArray: holes are what is tested
    expect(encode([undefined, , null])).toBe('[{"$deferq":["undefined"]},{"$deferq":["undefined"]},null]')
    expect(encode(Object.assign(new Array(2), [7]))).toBe('[7,{"$deferq":["undefined"]}]')
    expect(encode({ a: undefined, b: { c: undefined } })).toBe('{"b":{}}')
  })

  it('keeps apart what JSON would merge', () => {
    const date = new Date(0)
    const values = [
      1,
      '1',
      1n,
      true,
      'true',
      null,
      'null',
      undefined,
      'undefined',
      [],
      {},
      '',
      new Map(),
      new Set(),
    ]
    values.push(
      [undefined],
      [null],
      [[]],
      date,
      date.toISOString(),
      0,
      Buffer.from('1'),
      Buffer.alloc(0),
      'MQ==',
    )
    values.push('{"$deferq":0}', '{"$deferq":["undefined"]}', ['Date', date.toISOString()], new Set([[]]))
    expect(new Set(values.map((value) => encode(value))).size).toBe(values.length)
  })

  it('never takes a string for the place of a Map', () => {
    const value = { a: '{"$deferq":0}', b: new Map([['{"$deferq":0}', new Set(['{"$deferq":1}'])]]) }
    expect(decode(encode(value))).toEqual(value)
  })
})

describe('what is accepted', () => {
  it('takes objects without a prototype and objects of another realm for plain ones', () => {
    const bare = Object.assign(Object.create(null), { a: 1 })
    expect(encode(bare)).toBe('{"a":1}')
    const foreign = runInNewContext('({ a: [1, new Date(0), new Map([[1, new Set([new Uint8Array(1)])]])] })')
    expect(sameValue(decode(encode(foreign)), foreign)).toBe(true)
    expect(encode(foreign)).toBe(
      encode({ a: [1, new Date(0), new Map([[1, new Set([new Uint8Array(1)])]])] }),
    )
  })

  it('writes an object that is shared as often as it is met', () => {
    const shared = { x: [1] }
    expect(encode([shared, { shared }, new Map([[shared, shared]])])).toBe(
      '[{"x":[1]},{"shared":{"x":[1]}},{"$deferq":["Map",[[{"x":[1]},{"x":[1]}]]]}]',
    )
  })

  it('reads an accessor and the property of a Proxy once', () => {
    let reads = 0
    const value = {
      get a() {
        return ++reads
      },
    }
    expect(encode(value)).toBe('{"a":1}')
    const proxy = new Proxy({ b: 0 }, { get: () => ++reads })
    expect(encode([proxy])).toBe('[{"b":2}]')
  })

  it('leaves its input as it was', () => {
    const value = Object.freeze({ at: new Date(0), list: Object.freeze([1n, undefined]) })
    encode(value)
    expect(value).toEqual({ at: new Date(0), list: [1n, undefined] })
  })

  it('ignores properties that are not enumerable', () => {
    const value = Object.defineProperty({ a: 1 }, 'hidden', { value: () => 1 })
    expect(encode(Object.defineProperty(value, Symbol('hidden'), { value: 1 }))).toBe('{"a":1}')
    expect(encode(Object.defineProperty([1], Symbol('hidden'), { value: 1 }))).toBe('[1]')
  })
})

class Point {
  x = 1
}

const selfish: unknown[] = [1]
selfish.push({ selfish })
const ring = new Map<unknown, unknown>()
ring.set('ring', new Set([ring]))
const named = Object.assign([1, 2], { extra: 1 })
const holey = Object.assign(new Array(5), { '00': 1 })

describe('a result', () => {
  it('keeps the order of properties, members and entries', () => {
    const result = {
      url: '/a',
      rows: 2,
      seen: new Set(['b', 'a']),
      by: new Map([
        ['z', 1],
        ['y', 2],
      ]),
    }
    expect(JSON.stringify(decode(encode(result, 'result')))).toBe(JSON.stringify(result))
    expect(Object.keys(decode(encode(result, 'result')) as object)).toEqual(['url', 'rows', 'seen', 'by'])
    const { seen, by } = decode(encode(result, 'result')) as typeof result
    expect([...seen]).toEqual(['b', 'a'])
    expect([...by.keys()]).toEqual(['z', 'y'])
  })
})

describe('what is refused, and where', () => {
  it.each<[string, unknown, string]>([
    ['a function', { filter: { ids: [1, 2, 3, () => 1] } }, 'params.filter.ids[3]'],
    ['a class', Point, 'params'],
    ['a symbol', ['a', Symbol('s')], 'params[1]'],
    ['a symbol as a key', { a: { [Symbol('s')]: 1 } }, 'params.a'],
    ['a symbol as a key of an array', { a: Object.assign([], { [Symbol('s')]: 1 }) }, 'params.a'],
    ['a symbol as a key of a Map', { a: Object.assign(new Map(), { [Symbol('s')]: 1 }) }, 'params.a'],
    ['a cycle', selfish, 'params[1].selfish'],
    ['a cycle through a Map', ring, 'params[value 0][member 0]'],
    ['NaN', { 'odd key': Number.NaN }, 'params["odd key"]'],
    ['Infinity', { '': [Number.POSITIVE_INFINITY] }, 'params[""][0]'],
    ['-Infinity as the key of a Map', new Map([[-Infinity, 1]]), 'params[key 0]'],
    ['an invalid Date', { at: new Date(Number.NaN) }, 'params.at'],
    ['a lone high surrogate', { s: 'a\ud800' }, 'params.s'],
    ['a lone low surrogate', ['\udc00a'], 'params[0]'],
    ['a lone surrogate in a key', { 'k\ud800': 1 }, 'params["k\\ud800"]'],
    ['a class instance', { p: new Point() }, 'params.p'],
    ['a RegExp', [/x/], 'params[0]'],
    ['an Error', { e: new Error('x') }, 'params.e'],
    ['a URL', { url: new URL('http://x') }, 'params.url'],
    ['a Promise', Promise.resolve(1), 'params'],
    ['a WeakMap', new WeakMap(), 'params'],
    ['a WeakRef', new WeakRef({}), 'params'],
    ['a Float64Array', { a: new Float64Array(1) }, 'params.a'],
    ['an Int8Array', { a: new Int8Array(1) }, 'params.a'],
    ['a Uint8ClampedArray', { a: new Uint8ClampedArray(1) }, 'params.a'],
    ['a DataView', new DataView(new ArrayBuffer(1)), 'params'],
    ['a SharedArrayBuffer', new SharedArrayBuffer(1), 'params'],
    ['a boxed string', Object('s'), 'params'],
    ['a boxed number', [Object(1)], 'params[0]'],
    ['a boxed bigint', [Object(1n)], 'params[0]'],
    ['an iterator', [1].values(), 'params'],
    ['a subclass of Array', { a: new (class List extends Array {})() }, 'params.a'],
    ['a subclass of Map', { a: new (class Dict extends Map {})() }, 'params.a'],
    ['a subclass of Date', { a: new (class Day extends Date {})() }, 'params.a'],
    ['a subclass of Uint8Array', { a: new (class Blob extends Uint8Array {})() }, 'params.a'],
    ['what only looks like a Date', { a: Object.create(Date.prototype) }, 'params.a'],
    ['a Proxy of a Map', { a: new Proxy(new Map(), {}) }, 'params.a'],
    ['an instance whose class has no name', { a: Object.create(Object.create(null)) }, 'params.a'],
    ['an own __proto__', JSON.parse('{"a":{"__proto__":{"admin":true}}}'), 'params.a.__proto__'],
    ['toJSON on a plain object', { a: { toJSON: () => 1 } }, 'params.a.toJSON'],
    ['a forged tag', { a: { $deferq: ['Date', '2024-01-01T00:00:00.000Z'] } }, 'params.a.$deferq'],
    ['a named property of an array', { a: named }, 'params.a.extra'],
    ['a property of an array that is almost an index', { a: holey }, 'params.a["00"]'],
    ['a named property of a Date', { a: Object.assign(new Date(), { zone: 'UTC' }) }, 'params.a.zone'],
    ['a named property of a Map', { a: Object.assign(new Map(), { zone: 1 }) }, 'params.a.zone'],
    ['what a Set holds', new Set([1, { f() {} }]), 'params[member 1].f'],
  ])('%s', (_, value, path) => {
    expect(refusal(value).slice(0, 2)).toEqual(['UNHASHABLE_PARAMS', path])
  })

  it('says of an instance what it is an instance of', () => {
    expect(refusal({ p: new Point() })[2]).toContain('params.p is an instance of Point.')
    expect(refusal([/x/])[2]).toContain('params[0] is an instance of RegExp.')
  })

  it('an accessor that throws, with its cause', () => {
    const cause = new Error('out of order')
    const value = {
      ok: 1,
      list: [
        {
          fine: 1,
          get broken() {
            throw cause
          },
        },
      ],
    }
    const error = failure(() => encode(value))
    expect([error.code, error.details?.path, error.cause]).toEqual([
      'UNHASHABLE_PARAMS',
      'params.list[0].broken',
      cause,
    ])
    expect(error.message).toContain('out of order')
  })

  it('an accessor that throws undefined', () => {
    const value = Object.defineProperty({}, 'odd', {
      enumerable: true,
      get() {
        throw undefined
      },
    })
    expect(refusal([value]).slice(0, 2)).toEqual(['UNHASHABLE_PARAMS', 'params[0].odd'])
  })

  it('a revoked Proxy', () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    expect(refusal({ a: { b: proxy } }).slice(0, 2)).toEqual(['UNHASHABLE_PARAMS', 'params.a.b'])
  })

  it('a Proxy that invents prototypes without end', () => {
    const endless: object = new Proxy({}, { getPrototypeOf: () => endless })
    expect(refusal(endless)[0]).toBe('UNHASHABLE_PARAMS')
  })

  it('a result, with codes and a path of its own', () => {
    expect(refusal({ rows: [Number.NaN] }, 'result').slice(0, 2)).toEqual([
      'UNSTORABLE_RESULT',
      'result.rows[0]',
    ])
    expect(refusal('xx', 'result', { bytes: 3 }).slice(0, 2)).toEqual(['RESULT_TOO_LARGE', 'result'])
  })
})

describe('limits', () => {
  const nest = (levels: number, inner: unknown = 1): unknown =>
    levels === 0 ? inner : nest(levels - 1, [inner])

  it('takes 100 levels and no more, and says so', () => {
    const deepest = nest(100)
    expect(decode(encode(deepest))).toEqual(deepest)
    const [code, path, message] = refusal({ a: nest(100) })
    expect([code, path]).toEqual(['PARAMS_TOO_LARGE', `params.a${'[0]'.repeat(99)}`])
    expect(message).toContain('at least 101 levels deep, over the limit of 100')
  })

  it('reads back the deepest Maps that can be asked for', () => {
    let value: unknown = 1
    for (let i = 0; i < 250; i++) value = new Map([[value, i]])
    const text = encode(value, 'params', { depth: 1000 })
    expect(encode(decode(text), 'params', { depth: 1000 })).toBe(text)
    expect(refusal([value], 'params', { depth: 1000 })[0]).toBe('PARAMS_TOO_LARGE')
  })

  it('takes 100,000 values and no more', () => {
    expect(encode(new Array(99_999).fill(0))).toHaveLength(200_000 - 1)
    expect(refusal(new Array(100_000).fill(0))[2]).toContain('100001 values, over the limit of 100000')
    expect(refusal(new Set(new Array(100_000).keys()))[0]).toBe('PARAMS_TOO_LARGE')
    expect(refusal([[1, 2], [3]], 'params', { nodes: 5 }).slice(0, 2)).toEqual([
      'PARAMS_TOO_LARGE',
      'params[1]',
    ])
  })

  it('takes 1 MiB of UTF-8 for params and 16 MiB for results', () => {
    const mib = 1024 * 1024
    expect(encode('x'.repeat(mib - 2))).toHaveLength(mib)
    expect(refusal('x'.repeat(mib - 1))[2]).toContain(
      `params is too large: ${mib + 1} bytes, over the limit of ${mib}. `,
    )
    expect(refusal(['€'.repeat(mib / 3)])[0]).toBe('PARAMS_TOO_LARGE')
    expect(refusal(['\u0000'.repeat(mib / 4)])[0]).toBe('PARAMS_TOO_LARGE')
    expect(encode('€'.repeat(mib), 'result')).toHaveLength(mib + 2)
    expect(refusal('€'.repeat(6 * mib), 'result')[0]).toBe('RESULT_TOO_LARGE')
  })

  it('reads a limit that is given as undefined as the usual one', () => {
    expect(refusal('x'.repeat(1024 * 1024), 'params', { bytes: undefined })[0]).toBe('PARAMS_TOO_LARGE')
  })

  it('clips long names in a path', () => {
    const [, path] = refusal({ ['long'.repeat(100)]: Number.NaN })
    expect(path).toBe(`params["${'long'.repeat(16)}…"]`)
  })
})

// Each would take minutes, or all memory, if it were not stopped on the way down.
describe('hostile values end soon', () => {
  const mebibyte = 'x'.repeat(1024 * 1024)
  let deep: unknown = {}
  for (let i = 0; i < 500_000; i++) deep = { deep }
  let laughs: unknown = 'ha'
  for (let i = 0; i < 50; i++) laughs = new Array(10).fill(laughs)
  const crowd: unknown[] = Array.from({ length: 1000 }, (_, i) => i)
  crowd.push(crowd)
  const endless = new Set<unknown>()
  const grow = (): object => ({
    get a() {
      endless.add(grow())
      return 1
    },
  })
  endless.add(grow())

  it.each<[string, unknown, string]>([
    ['nested half a million deep', deep, 'PARAMS_TOO_LARGE'],
    ['ten to the fiftieth shared strings', laughs, 'PARAMS_TOO_LARGE'],
    ['the same mebibyte 90,000 times', new Array(90_000).fill(mebibyte), 'PARAMS_TOO_LARGE'],
    ['a sparse array of four billion', new Array(4_000_000_000), 'PARAMS_TOO_LARGE'],
    ['a BigInt of fifty million bits', 1n << 50_000_000n, 'PARAMS_TOO_LARGE'],
    ['the same large BigInt 90,000 times', new Array(90_000).fill(1n << 4_000_000n), 'PARAMS_TOO_LARGE'],
    ['half a gigabyte of bytes', new ArrayBuffer(500_000_000), 'PARAMS_TOO_LARGE'],
    ['a cycle after a thousand members', crowd, 'UNHASHABLE_PARAMS'],
    ['a Set that grows while it is read', endless, 'PARAMS_TOO_LARGE'],
  ])('%s', (_, value, code) => {
    const start = performance.now()
    expect(failure(() => encode(value)).code).toBe(code)
    expect(performance.now() - start).toBeLessThan(3000)
  })

  it('a large BigInt and deeply nested Sets, which are accepted', () => {
    const start = performance.now()
    const big = 1n << 4_000_000n
    expect(decode(encode(big, 'params')) === big).toBe(true)
    let nested: unknown = mebibyte.slice(10_000)
    for (let i = 0; i < 99; i++) nested = new Set([nested, i])
    expect(sameValue(decode(encode(nested)), nested)).toBe(true)
    expect(performance.now() - start).toBeLessThan(3000)
  })
})

describe('decode', () => {
  it.each([
    ['no text', ''],
    ['half a text', '{"a":'],
    ['text with a tail', '1 2'],
    ['__proto__', '{"__proto__":{"polluted":1}}'],
    ['a nested __proto__', '[{"a":{"__proto__":null}}]'],
    ['an escaped __proto__', '{"\\u005f_proto__":{"polluted":1}}'],
    ['a tag of an unknown type', '{"$deferq":["RegExp","x"]}'],
    ['a tag that is no array', '{"$deferq":"Date"}'],
    ['an empty tag', '{"$deferq":[]}'],
    ['a tag beside a property', '{"$deferq":["undefined"],"a":1}'],
    ['an escaped tag with unfit content', '{"\\u0024deferq":["Date","x"]}'],
    ['a tag with too much content', '{"$deferq":["undefined",1]}'],
    ['a Date that is none', '{"$deferq":["Date","yesterday"]}'],
    ['a Date in another spelling', '{"$deferq":["Date","2024-01-01"]}'],
    ['a Date that is a number', '{"$deferq":["Date",0]}'],
    ['a BigInt in another spelling', '{"$deferq":["BigInt","0x01"]}'],
    ['a BigInt in decimal', '{"$deferq":["BigInt","12"]}'],
    ['a BigInt that is minus nought', '{"$deferq":["BigInt","-0x0"]}'],
    ['bytes in another spelling', '{"$deferq":["bytes","AQ"]}'],
    ['a Set with a member twice', '{"$deferq":["Set",[1,1]]}'],
    ['a Map with a key twice', '{"$deferq":["Map",[[1,1],[1,2]]]}'],
    ['a Map of things that are no entries', '{"$deferq":["Map",[[1,2,3]]]}'],
    [
      'a tag that nests too deep',
      `{"a":{"$deferq":["undefined"]},"b":${'['.repeat(2000)}${']'.repeat(2000)}}`,
    ],
  ])('refuses %s', (_, text) => {
    expect(failure(() => decode(text)).code).toBe('MALFORMED_VALUE')
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  it('keeps the cause when the text is not JSON', () => {
    expect(failure(() => decode('{')).cause).toBeInstanceOf(SyntaxError)
  })

  it('takes the names of tags and prototypes for text where they are text', () => {
    const value = { a: '__proto__', b: '"$deferq"', c: '\u0001', d: ['$deferq'], constructor: 1 }
    expect(decode(encode(value))).toEqual(value)
  })

  it('answers any text with a value or with MALFORMED_VALUE', () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '1',
      '"$deferq"',
      '"Date"',
      '"Map"',
      '"__proto__"',
      '""',
    )
    const text = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
    )
    const tag = fc.tuple(
      fc.constantFrom('Date', 'BigInt', 'Map', 'Set', 'bytes', 'undefined'),
      fc.jsonValue(),
    )
    const tagged = tag.map((content) => JSON.stringify({ $deferq: content }))
    fc.assert(
      fc.property(fc.oneof(text, tagged), (any) => {
        try {
          decode(any)
        } catch (error) {
          expect((error as DeferqError).code).toBe('MALFORMED_VALUE')
        }
      }),
      { numRuns },
    )
  })
})

/** Whether two values are the same, written from the documentation and not from the code. */
function sameValue(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  const type = kind(a)
  if (type !== kind(b)) return false
  if (type === 'Date') return Number(a) === Number(b)
  if (type === 'bytes') return Buffer.compare(bytesOf(a), bytesOf(b)) === 0
  if (type === 'Array') return sameInOrder(a as unknown[], b as unknown[])
  if (type === 'Set' || type === 'Map')
    return sameInAnyOrder([...(a as Set<unknown>)], [...(b as Set<unknown>)])
  const present = (object: object) => Object.entries(object).filter(([, item]) => item !== undefined)
  return sameInAnyOrder(present(a), present(b))
}

function sameInOrder(a: unknown[], b: unknown[]): boolean {
  return a.length === b.length && a.every((item, i) => sameValue(item, b[i]))
}

function sameInAnyOrder(a: unknown[], b: unknown[]): boolean {
  const rest = [...b]
  const paired = a.every((item) => {
    const at = rest.findIndex((other) => sameValue(item, other))
    if (at >= 0) rest.splice(at, 1)
    return at >= 0
  })
  return paired && rest.length === 0
}

function kind(value: object): string {
  const name = Object.prototype.toString.call(value).slice(8, -1)
  return name === 'Uint8Array' || name === 'ArrayBuffer' ? 'bytes' : name
}

function bytesOf(value: object): Buffer {
  return Buffer.from(value as Uint8Array)
}

/** The same value, with everything that has no order the other way round. */
function reversed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const type = kind(value)
  if (type === 'Array') return (value as unknown[]).map(reversed)
  if (type === 'Set') return new Set([...(value as Set<unknown>)].reverse().map(reversed))
  if (type === 'Map')
    return new Map([...(value as Map<unknown, unknown>)].reverse().map(reversed) as [unknown, unknown][])
  if (type !== 'Object') return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, item]) => [key, reversed(item)]),
  )
}

function nestings(
  leaf: fc.Arbitrary<unknown>,
  key: fc.Arbitrary<string>,
  maxLength: number,
): fc.Arbitrary<unknown> {
  return fc.letrec<{ any: unknown }>((tie) => {
    const any = tie('any')
    const entries = fc.array(fc.tuple(any, any), { maxLength })
    return {
      any: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        leaf,
        fc.array(any, { maxLength }),
        fc.dictionary(key, any, { maxKeys: maxLength }),
        fc.array(any, { maxLength }).map((members) => new Set(members)),
        entries.map((pairs) => new Map(pairs)),
      ),
    }
  }).any
}

const text = fc.string({ unit: 'binary', maxLength: 8 })
const anyLeaf = fc.oneof(
  text,
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.constantFrom(null, undefined, true, false, '{"$deferq":0}', '$deferq', '__proto__'),
  fc.bigInt(),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array({ maxLength: 8 }),
  fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
)
const anyKey = text.filter((key) => key !== '$deferq' && key !== '__proto__')
const anyValue = nestings(anyLeaf, anyKey, 5)

// So few that equal pairs are common.
const fewLeaves = fc.constantFrom<unknown>(
  0,
  -0,
  1,
  '1',
  1n,
  null,
  undefined,
  new Date(1),
  Buffer.from('1'),
  true,
)
const fewValues = nestings(fewLeaves, fc.constantFrom('a', 'b', '1'), 2)

describe('for every value', () => {
  it('what is decoded is what was encoded', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const text = encode(value)
        const read = decode(text)
        expect(sameValue(read, value)).toBe(true)
        expect(encode(read)).toBe(text)
      }),
      { numRuns },
    )
  })

  it('the order of properties, members and entries leaves no trace', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(encode(reversed(value))).toBe(encode(value))
      }),
      { numRuns },
    )
  })

  it('the texts of two are equal exactly when they are the same', () => {
    let equal = 0
    fc.assert(
      fc.property(fewValues, fewValues, (a, b) => {
        const same = sameValue(a, b)
        if (same) equal++
        expect(encode(a) === encode(b)).toBe(same)
      }),
      { numRuns: numRuns * 5 },
    )
    expect(equal).toBeGreaterThan(numRuns / 100)
  })

  it('JSON has the text that a plain canonical writer gives it', () => {
    const canonical = (value: unknown): string => {
      if (typeof value !== 'object' || value === null) return JSON.stringify(value)
      if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
      const sorted = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
      return `{${sorted.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`
    }
    const json = fc
      .jsonValue({ stringUnit: 'binary' })
      .filter((value) => !JSON.stringify(value).includes('"__proto__"'))
    fc.assert(
      fc.property(json, (value) => {
        expect(encode(value)).toBe(canonical(value))
        expect(decode(encode(value))).toEqual(JSON.parse(canonical(value)))
      }),
      { numRuns },
    )
  })
})
