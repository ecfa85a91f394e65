// The envelope: its exact bytes, what each side checks and in which order, and edits that leave every other byte alone.
import { describe, expect, test } from 'vitest'
import { violationsOf } from '../../src/bridge/check-envelope.ts'
import type { Envelope } from '../../src/bridge/envelope.ts'
import {
  annotated,
  decodeEnvelope,
  encodeEnvelope,
  newEnvelope,
  propertiesOf,
  restored,
  withAttempts,
} from '../../src/bridge/envelope.ts'
import { failing } from '../facade/places.ts'

const ID = '0b5a2c1e-6f3d-4a7b-9c8d-1e2f3a4b5c6d'
const TRACE = '7d9f1b2a-3c4e-4f5a-8b6c-9d0e1f2a3b4c'
const META = `"meta":{"id":"${ID}","queue":"orders","lang":"php","schema_version":1,"created_at":1767225600123}`
/** As json_encode with JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE writes it. */
const PHP = `{"job":"urn:babel:orders:created","trace_id":"${TRACE}","data":{"url":"https://shop.example/ü/日本","total":12.5},${META},"attempts":0}`
const bytes = (text: string): Buffer => Buffer.from(text)
const envelopeOf = (text: string | Buffer): Envelope => {
  const { envelope } = decodeEnvelope(typeof text === 'string' ? bytes(text) : text)
  if (envelope === undefined) throw new Error(`This was refused: ${text}`)
  return envelope
}
const refusalOf = (text: string | Uint8Array): string | undefined =>
  decodeEnvelope(typeof text === 'string' ? bytes(text) : text).refusal
const WHY = {
  reason: 'failed',
  error: 'out of stock',
  exception: 'StockError',
  failed_at: 5,
  original_queue: 'orders',
  attempts: 3,
  lang: 'node',
} as const
const ANNOTATION =
  '"dead_letter":{"reason":"failed","error":"out of stock","exception":"StockError","failed_at":5,"original_queue":"orders","attempts":3,"lang":"node"}'

describe('bytes', () => {
  test('are compact, unescaped and in the fixed order, whatever the order in memory', () => {
    const { job, trace_id, data, meta, attempts } = envelopeOf(PHP)
    const { created_at, lang, ...rest } = meta
    const shuffled = { attempts, meta: { created_at, lang, ...rest }, data, trace_id, job } as Envelope
    expect(encodeEnvelope(shuffled).toString()).toBe(PHP)
  })

  test('of a new envelope: an empty object for no data, a UUID for a blank trace id', () => {
    const text = encodeEnvelope(newEnvelope('urn:babel:a:b', undefined, { traceId: ' ' })).toString()
    expect(text).toMatch(
      /^\{"job":"urn:babel:a:b","trace_id":"[0-9a-f]{8}-[0-9a-f-]{27}","data":\{\},"meta":\{"id":"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}","queue":"default","lang":"node","schema_version":1,"created_at":\d{13}\},"attempts":0\}$/,
    )
    expect(newEnvelope('a', {}, { traceId: 'not a uuid' }).trace_id).toBe('not a uuid')
  })

  test('control characters and quotes are escaped, and line separators are not', () => {
    const data = { text: '\u0001\n\t"\\/\u2028é😀' }
    const text = encodeEnvelope({ ...envelopeOf(PHP), data }).toString()
    expect(text).toContain('"data":{"text":"\\u0001\\n\\t\\"\\\\/\u2028é😀"}')
    expect(envelopeOf(text).data).toEqual(data)
  })

  test('members of others are kept, in the envelope, in meta and in the annotation', () => {
    const text =
      `{"tenant":{"id":7},"job":"j","trace_id":"t","data":{},"x":null,` +
      `"meta":{"region":"eu","id":"${ID}","queue":"q","lang":"go","schema_version":1,"created_at":0},"attempts":2,` +
      `"dead_letter":{"host":"a","reason":"poison","error":null,"exception":null,"failed_at":1,"original_queue":"q","attempts":2,"lang":"go"}}`
    expect(encodeEnvelope(envelopeOf(text)).toString()).toBe(
      `{"job":"j","trace_id":"t","data":{},` +
        `"meta":{"id":"${ID}","queue":"q","lang":"go","schema_version":1,"created_at":0,"region":"eu"},"attempts":2,` +
        `"dead_letter":{"reason":"poison","error":null,"exception":null,"failed_at":1,"original_queue":"q","attempts":2,"lang":"go","host":"a"},` +
        `"tenant":{"id":7},"x":null}`,
    )
  })

  test('members called __proto__ are members, and change nothing else', () => {
    const text = `{"job":"j","trace_id":"t","data":{"__proto__":{"admin":true}},${META},"attempts":0,"__proto__":{"job":"x"}}`
    const envelope = envelopeOf(text)
    expect(Object.getPrototypeOf(envelope)).toBe(Object.prototype)
    expect((envelope.data as { admin?: unknown }).admin).toBeUndefined()
    expect(encodeEnvelope(envelope).toString()).toBe(text)
  })

  test('integers that a double can’t hold keep their digits', () => {
    const data = `{"id":9223372036854775807,"small":9007199254740991,"minus":-18446744073709551615,"text":"9223372036854775807","float":1.2345678901234567,"list":[12345678901234567890]}`
    const text = PHP.replace(/"data":\{.*?\},"meta"/, `"data":${data},"meta"`)
    const envelope = envelopeOf(text)
    expect(envelope.data).toEqual({
      id: 9223372036854775807n,
      small: 9007199254740991,
      minus: -18446744073709551615n,
      text: '9223372036854775807',
      float: 1.2345678901234567,
      list: [12345678901234567890n],
    })
    expect(encodeEnvelope(envelope).toString()).toBe(text)
  })

  test('the alias urn is read, and never written', () => {
    const alias = PHP.replace('"job"', '"urn"')
    expect(envelopeOf(alias).job).toBe('urn:babel:orders:created')
    expect(encodeEnvelope(envelopeOf(alias)).toString()).toBe(PHP)
    const both = PHP.replace('{"job"', '{"urn":"other","job"')
    expect(encodeEnvelope(envelopeOf(both)).toString()).toBe(PHP)
  })

  test('written by others: Go escapes &, Python spaces its members and escapes all but ASCII', () => {
    const go = PHP.replace('日本', '\\u65e5\\u672c\\u0026').replace('"php"', '"go"')
    const python = JSON.stringify(JSON.parse(PHP), null, 1).replaceAll('\n', '').replaceAll('ü', '\\u00fc')
    expect(envelopeOf(go).data.url).toBe('https://shop.example/ü/日本&')
    expect(encodeEnvelope(envelopeOf(python)).toString()).toBe(PHP)
  })

  test('properties and headers', () => {
    expect(propertiesOf(envelopeOf(PHP))).toEqual({
      type: 'urn:babel:orders:created',
      correlationId: TRACE,
      messageId: ID,
      appId: 'babelqueue',
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      headers: { 'x-schema-version': 1, 'x-source-lang': 'php', 'x-attempts': 0 },
    })
  })
})

describe('a consumer', () => {
  const change = (member: string, value: unknown, inMeta = false): string => {
    const envelope = JSON.parse(PHP)
    const target = inMeta ? envelope.meta : envelope
    if (value === undefined) delete target[member]
    else target[member] = value
    return JSON.stringify(envelope)
  }

  test.each([
    ['job', undefined, 'missing_urn'],
    ['job', '', 'missing_urn'],
    ['job', 7, 'missing_urn'],
    ['job', null, 'missing_urn'],
    ['meta', undefined, 'missing_meta'],
    ['meta', [], 'missing_meta'],
    ['meta', 'text', 'missing_meta'],
    ['meta', null, 'missing_meta'],
    ['data', undefined, 'invalid_data'],
    ['data', [], 'invalid_data'],
    ['data', null, 'invalid_data'],
    ['data', 'text', 'invalid_data'],
    ['trace_id', undefined, 'missing_trace_id'],
    ['trace_id', '', 'missing_trace_id'],
    ['trace_id', 7, 'missing_trace_id'],
    ['attempts', undefined, 'invalid_attempts'],
    ['attempts', -1, 'invalid_attempts'],
    ['attempts', 1.5, 'invalid_attempts'],
    ['attempts', '0', 'invalid_attempts'],
    ['attempts', null, 'invalid_attempts'],
  ])('%s: %j is %s', (member, value, reason) => {
    expect(refusalOf(change(member, value))).toBe(reason)
  })

  test.each([undefined, 0, 2, '1', true, null])('a schema version of %j is unsupported', (version) => {
    expect(refusalOf(change('schema_version', version, true))).toBe('unsupported_schema_version')
  })

  test('names the first of many faults', () => {
    const order = [
      ['missing_urn', 'job', 'j'],
      ['missing_meta', 'meta', {}],
      ['unsupported_schema_version', 'meta', { schema_version: 1 }],
      ['invalid_data', 'data', {}],
      ['missing_trace_id', 'trace_id', 't'],
      ['invalid_attempts', 'attempts', 0],
    ] as const
    const envelope: Record<string, unknown> = {}
    for (const [reason, member, mended] of order) {
      expect(refusalOf(JSON.stringify(envelope))).toBe(reason)
      envelope[member] = mended
    }
    expect(refusalOf(JSON.stringify(envelope))).toBeUndefined()
  })

  test.each([
    ['nothing', ''],
    ['a truncated body', PHP.slice(0, -10)],
    ['a mark of byte order', `\ufeff${PHP}`],
    ['what is no UTF-8', Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d])],
    ['UTF-16', Buffer.from(PHP, 'utf16le')],
    ['a megabyte of garbage', Buffer.alloc(1_048_576, '"\\{[x')],
    ['a megabyte of zeros', Buffer.alloc(1_048_576)],
    ['a list', `[${PHP}]`],
    ['a word', 'null'],
    ['two bodies', PHP + PHP],
    ['a depth of a million that never ends', '['.repeat(1_000_000)],
  ])('%s can’t be decoded', (_, body) => {
    const decoded = decodeEnvelope(typeof body === 'string' ? bytes(body) : body)
    expect(decoded.refusal).toBe('undecodable')
    expect(decoded).not.toHaveProperty('found')
    expect((decoded as { error: string }).error.length).toBeLessThan(300)
  })

  test('a depth of a hundred thousand is read, or refused, and ends nothing', () => {
    const deep = `${'['.repeat(100_000)}12345678901234567890${']'.repeat(100_000)}`
    expect(['undecodable', undefined]).toContain(refusalOf(PHP.replace('12.5', deep)))
    expect(refusalOf(PHP.replace('12.5', deep.replace(/\d+/, '1')))).toBeUndefined()
  })

  test('of duplicate members the last one counts', () => {
    const text = PHP.replace('"attempts":0', '"attempts":"x","attempts":4')
    expect(envelopeOf(text).attempts).toBe(4)
    expect(withAttempts(bytes(text), 5).toString()).toBe(text.replace('"attempts":4', '"attempts":5'))
  })
})

describe('a producer', () => {
  const good = (): Record<string, unknown> => JSON.parse(PHP)

  test('finds nothing wrong with what is right', () => {
    expect(violationsOf(good())).toEqual([])
    expect(violationsOf({ ...good(), dead_letter: WHY, other: 1 })).toEqual([])
  })

  test.each([
    [[], 'envelope: not_an_object'],
    [null, 'envelope: not_an_object'],
    [{ ...good(), job: undefined }, 'job: missing_required'],
    [{ ...good(), job: 7 }, 'job: wrong_type'],
    [{ ...good(), job: '' }, 'job: empty_string'],
    [{ ...good(), trace_id: '' }, 'trace_id: empty_string'],
    [{ ...good(), data: undefined }, 'data: missing_required'],
    [{ ...good(), data: [] }, 'data: not_an_object'],
    [{ ...good(), data: new Map() }, 'data: not_an_object'],
    [{ ...good(), data: { a: [{ b: Number.NaN }] } }, 'data.a[0].b: wrong_type'],
    [{ ...good(), data: { a: new Set() } }, 'data.a: wrong_type'],
    [{ ...good(), data: { a: () => 1 } }, 'data.a: wrong_type'],
    [{ ...good(), data: { a: Buffer.from('x') } }, 'data.a: wrong_type'],
    [{ ...good(), data: { a: '\ud800' } }, 'data.a: wrong_type'],
    [{ ...good(), meta: 1 }, 'meta: not_an_object'],
    [{ ...good(), meta: undefined }, 'meta: missing_required'],
    [{ ...good(), meta: { ...(good().meta as object), id: 'x' } }, 'meta.id: not_a_uuid'],
    [{ ...good(), meta: { ...(good().meta as object), id: ID.replace('-4', '-1') } }, 'meta.id: not_a_uuid'],
    [{ ...good(), meta: { ...(good().meta as object), queue: '' } }, 'meta.queue: empty_string'],
    [{ ...good(), meta: { ...(good().meta as object), lang: 'perl' } }, 'meta.lang: not_in_enum'],
    [
      { ...good(), meta: { ...(good().meta as object), schema_version: 2 } },
      'meta.schema_version: wrong_const',
    ],
    [
      { ...good(), meta: { ...(good().meta as object), schema_version: '1' } },
      'meta.schema_version: wrong_type',
    ],
    [{ ...good(), meta: { ...(good().meta as object), created_at: -1 } }, 'meta.created_at: below_minimum'],
    [{ ...good(), meta: { ...(good().meta as object), created_at: 1.5 } }, 'meta.created_at: wrong_type'],
    [{ ...good(), attempts: -1 }, 'attempts: below_minimum'],
    [{ ...good(), attempts: '1' }, 'attempts: wrong_type'],
    [{ ...good(), dead_letter: 'x' }, 'dead_letter: not_an_object'],
    [{ ...good(), dead_letter: { ...WHY, reason: 'tired' } }, 'dead_letter.reason: not_in_enum'],
    [{ ...good(), dead_letter: { ...WHY, error: 7 } }, 'dead_letter.error: wrong_type'],
  ])('%#: %s', async (envelope, violation) => {
    expect(violationsOf(envelope)).toEqual([violation])
  })

  test('refuses with all of them', async () => {
    const { details } = await failing('INVALID_ENVELOPE', () =>
      encodeEnvelope({ job: '', data: [], meta: { lang: 'x' } } as never),
    )
    expect(details?.violations).toEqual([
      'job: empty_string',
      'trace_id: missing_required',
      'data: not_an_object',
      'meta.id: missing_required',
      'meta.queue: missing_required',
      'meta.lang: not_in_enum',
      'meta.schema_version: missing_required',
      'meta.created_at: missing_required',
      'attempts: missing_required',
    ])
    const circle: Record<string, unknown> = {}
    circle.circle = circle
    expect(violationsOf({ ...good(), data: circle })).toHaveLength(1)
  })
})

describe('edits', () => {
  const ODD = [
    PHP,
    PHP.replaceAll(',"', ' ,\n "'),
    `  ${PHP.replace(/\}$/, ' }')}\n`,
    `{"a":"}\\"{,","b":[{"dead_letter":1}],"id":123456789012345678901234567890,"e":1e400,"attempts":0}`,
    '{}',
    '{ }',
    `{"x":1}`,
    `{"attempts":0,"text":"\\\\"}`,
  ]

  test.each(ODD)('an annotation comes and goes, and leaves the bytes as they were: %#', (text) => {
    const aside = annotated(bytes(text), WHY) as Buffer
    expect(JSON.parse(aside.toString()).dead_letter).toEqual(WHY)
    expect(restored(aside)).toEqual(bytes(text))
  })

  test('its place is after all others, and its members in their order', () => {
    expect(annotated(bytes(PHP), WHY)?.toString()).toBe(`${PHP.slice(0, -1)},${ANNOTATION}}`)
  })

  test('a second annotation replaces the first, wherever it stands', () => {
    const old = PHP.replace('"data"', '"dead_letter":{"reason":"poison"},"dead\\u005fletter":null,"data"')
    const aside = annotated(bytes(old), WHY) as Buffer
    expect(JSON.parse(aside.toString()).dead_letter).toEqual(WHY)
    expect(restored(aside).toString()).toBe(PHP)
  })

  test('what is no JSON object has no place for one, and is restored as it is', () => {
    for (const raw of [Buffer.from([0xff, 0x00]), bytes('[]'), bytes(PHP.slice(1))]) {
      expect(annotated(raw, WHY)).toBeUndefined()
      expect(restored(raw)).toBe(raw)
    }
  })

  test('a restored message has all its attempts before it', () => {
    const spent = PHP.replace('"attempts":0', '"attempts":3')
    expect(withAttempts(bytes(PHP), 3).toString()).toBe(spent)
    expect(restored(annotated(bytes(spent), WHY) as Buffer).toString()).toBe(PHP)
  })

  test('a long text full of escapes is no trouble', () => {
    const text = PHP.replace('12.5', JSON.stringify('\\"'.repeat(500_000))).replace(
      '"attempts":0',
      '"n":12345678901234567890,"attempts":0',
    )
    expect(envelopeOf(text).n).toBe(12345678901234567890n)
    expect(withAttempts(bytes(text), 1).toString()).toBe(text.replace('"attempts":0', '"attempts":1'))
  })
})
