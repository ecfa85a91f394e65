// What the receiver gets: body, headers, the attempt, keys, tokens and signatures; and what is shown nowhere else.
import { createHash, generateKeyPairSync } from 'node:crypto'
import { exportJWK, jwtVerify } from 'jose'
import { Webhook } from 'standardwebhooks'
import { expect, onTestFinished, test, vi } from 'vitest'
import { packageVersion } from '../../src/base/version.ts'
import { receiver, sending } from './receiver.ts'

const SECRET = 's'.repeat(64)

test('a JSON object tells which attempt it is, from 1 on, and when the request was made', async () => {
  const { url, got } = await receiver((_got, response, _request, count) =>
    response.writeHead(count < 3 ? 500 : 200).end(),
  )
  const { deferq } = sending()
  const { taskId, createdAt } = await deferq.request({
    url,
    json: { order: 17, at: new Date(0) },
    attemptInterval: 20,
    attemptLimit: 5,
  })
  await deferq.result(taskId)
  const bodies = got.map(({ body }) => JSON.parse(body))
  expect(bodies).toEqual(
    [1, 2, 3].map((number) => ({
      order: 17,
      at: '1970-01-01T00:00:00.000Z',
      __task: { createdAt: createdAt.toISOString(), attempt: { number, limit: 5, interval: 0.02 } },
    })),
  )
  expect(got[0]?.headers).toMatchObject({
    'content-type': 'application/json',
    'user-agent': `deferq/${packageVersion()}`,
    'idempotency-key': taskId,
  })
  expect(new Set(got.map(({ headers }) => headers['idempotency-key'])).size).toBe(1)
  expect(got[0]?.headers).not.toHaveProperty('deferq-attempt')
})

test('where the body is the caller’s own, headers tell it', async () => {
  const { url, got } = await receiver()
  const { deferq } = sending()
  const bodies = [
    { json: [1, 2] },
    { json: { __task: 'mine' } },
    { json: { plain: true }, announce: 'headers' },
    { body: 'a=b', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } },
    { body: new Uint8Array([0, 255, 10]) },
    { method: 'DELETE' },
    { method: 'POST' },
    {},
  ] as const
  for (const each of bodies) await deferq.result((await deferq.request({ url, ...each })).taskId)
  expect(got.map(({ method }) => method)).toEqual([
    'POST',
    'POST',
    'POST',
    'POST',
    'POST',
    'DELETE',
    'POST',
    'GET',
  ])
  expect(got.slice(0, 4).map(({ body }) => body)).toEqual([
    '[1,2]',
    '{"__task":"mine"}',
    '{"plain":true}',
    'a=b',
  ])
  expect(got.map(({ headers }) => headers['content-type'])).toEqual([
    'application/json',
    'application/json',
    'application/json',
    'application/x-www-form-urlencoded',
    'application/octet-stream',
    undefined,
    undefined,
    undefined,
  ])
  for (const { headers } of got) {
    expect(headers).toMatchObject({
      'deferq-attempt': '1',
      'deferq-attempt-limit': '1440',
      'deferq-attempt-interval': '60',
    })
    expect(Date.parse(headers['deferq-created-at'] as string)).toBeGreaterThan(Date.now() - 60_000)
  }
  await deferq.result((await deferq.request({ url, json: { a: 1 }, announce: 'none' })).taskId)
  expect(got.at(-1)?.body).toBe('{"a":1}')
  expect(got.at(-1)?.headers).not.toHaveProperty('deferq-attempt')
})

test('keys are named in the store, sent by the worker, and masked wherever the receiver sends them back', async () => {
  const { url, got } = await receiver(({ headers }, response) => {
    const echoed = `you said ${headers.authorization} and ${headers['x-token']}`
    response.writeHead(404, { 'x-echo': headers['x-token'] as string }).end(echoed)
  })
  const { deferq, said } = sending({
    http: { keys: { partner: 'hunter2-secret', bearer: 'Bearer t0p-s3cret' } },
  })
  const headers = { 'X-Token': { key: 'partner' }, Authorization: { key: 'bearer' }, 'x-plain': 'p' }
  const request = { url, headers, stopCodes: [404], json: {} } as const
  const failed = await deferq.request(request)
  await expect(deferq.result(failed.taskId)).rejects.toThrow(/404/)
  const answered = await deferq.request({ ...request, stopCodes: [], successCodes: [404] })
  expect(await deferq.result(answered.taskId)).toMatchObject({
    body: 'you said *** and ***',
    headers: { 'x-echo': '***' },
  })
  expect(got[0]?.headers).toMatchObject({
    'x-token': 'hunter2-secret',
    authorization: 'Bearer t0p-s3cret',
    'x-plain': 'p',
  })
  const engine = await deferq.open()
  const stored = JSON.stringify(await engine.read([failed.taskId, answered.taskId]))
  expect(stored).toContain('partner')
  for (const text of [
    stored,
    JSON.stringify(said, (_key, value) => (value instanceof Error ? { ...value, m: value.message } : value)),
  ]) {
    expect(text).not.toContain('hunter2')
    expect(text).not.toContain('s3cret')
  }
})

test('a credential in the headers of the request itself is masked as well; a short word is not', async () => {
  const { url } = await receiver(({ headers }, response) =>
    response.writeHead(500).end(`${headers['x-api-key']} ${headers['x-for']} ${headers.accept}`),
  )
  const { deferq } = sending()
  const headers = { 'X-Api-Key': 'literal-s3cret', 'x-for': 'us', accept: 'application/json' }
  const { taskId } = await deferq.request({ url, headers, attemptLimit: 1 })
  await expect(deferq.result(taskId)).rejects.toMatchObject({
    cause: { details: { body: '*** us application/json' } },
  })
})

test('without jose a JWT is refused with what to install', async () => {
  vi.doMock('jose', () => {
    throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
  })
  onTestFinished(() => void vi.doUnmock('jose'))
  const { url, got } = await receiver()
  const { deferq } = sending({ http: { keys: { k: SECRET } } })
  const { taskId } = await deferq.request({ url, jwt: { key: 'k' }, attemptLimit: 1 })
  await expect(deferq.result(taskId)).rejects.toThrow(/needs the package jose: npm install jose/)
  expect(got).toHaveLength(0)
})

test('a key that the worker lacks, or that fits no header, keeps the request from being sent, and it is tried again', async () => {
  const { url, got } = await receiver()
  const { deferq } = sending({ http: { keys: { broken: 'a\r\nb: c', bytes: new Uint8Array(64) } } })
  const wrong: [string, RegExp][] = [
    ['absent', /no key called 'absent'/],
    ['broken', /The key 'broken' has a value with characters/],
    ['bytes', /'bytes' is no text/],
    ['constructor', /no key called 'constructor'/],
  ]
  for (const [key, message] of wrong) {
    const request = { url, headers: { 'x-token': { key } }, attemptLimit: 2, attemptInterval: 1 }
    const { taskId } = await deferq.request(request)
    await expect(deferq.result(taskId)).rejects.toThrow(message)
    expect((await deferq.getStatus(taskId)).attempt).toBe(2)
  }
  expect(got).toHaveLength(0)
})

test('a JWT is verified by jose, with each algorithm, and covers the body', async () => {
  const { url, got } = await receiver()
  const ed = generateKeyPairSync('ed25519')
  const pem = ed.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  const { deferq } = sending({
    http: {
      keys: {
        text: SECRET,
        bytes: Buffer.from(SECRET),
        pem,
        object: ed.privateKey,
        jwk: (await exportJWK(ed.privateKey)) as never,
      },
    },
  })
  const secret = new TextEncoder().encode(SECRET)
  const cases = [
    ['text', undefined, secret],
    ['text', 'HS256', secret],
    ['bytes', 'HS384', secret],
    ['pem', 'EdDSA', ed.publicKey],
    ['object', 'EdDSA', ed.publicKey],
    ['jwk', 'EdDSA', ed.publicKey],
  ] as const
  for (const [key, algorithm, verifying] of cases) {
    const jwt = {
      key,
      ...(algorithm === undefined ? {} : { algorithm }),
      issuer: 'us',
      audience: 'them',
      subject: 'order',
      expiresIn: '90s',
      claims: { scope: 'hooks' },
    }
    const { taskId } = await deferq.request({ url, json: { key, algorithm: algorithm ?? null }, jwt })
    await deferq.result(taskId)
    const { headers, body } = got.at(-1) as (typeof got)[0]
    const token = (headers.authorization as string).replace(/^Bearer /, '')
    const { payload, protectedHeader } = await jwtVerify(token, verifying as never, {
      issuer: 'us',
      audience: 'them',
      subject: 'order',
      algorithms: [algorithm ?? 'HS512'],
    })
    expect(protectedHeader).toEqual({ alg: algorithm ?? 'HS512', typ: 'JWT' })
    expect(payload).toMatchObject({
      jti: taskId,
      scope: 'hooks',
      bodySha256: createHash('sha256').update(body).digest('base64url'),
    })
    expect((payload.exp as number) - (payload.iat as number)).toBe(90)
  }
  await deferq.result((await deferq.request({ url, jwt: { key: 'text', header: 'X-Jwt' } })).taskId)
  expect(got.at(-1)?.headers).not.toHaveProperty('authorization')
  await jwtVerify(got.at(-1)?.headers['x-jwt'] as string, secret)
})

test('a key too short for its algorithm, or of the wrong kind, signs nothing', async () => {
  const { url, got } = await receiver()
  const { deferq } = sending({ http: { keys: { short: 'a'.repeat(63), word: 'not a pem' } } })
  for (const [jwt, message] of [
    [{ key: 'short' }, /'short' has 63 bytes, and HS512 needs at least 64/],
    [{ key: 'word', algorithm: 'EdDSA' }, /'word' can’t be read as a private key/],
  ] as const) {
    const { taskId } = await deferq.request({ url, jwt, attemptLimit: 1 })
    await expect(deferq.result(taskId)).rejects.toThrow(message)
  }
  expect(got).toHaveLength(0)
})

test('a signature is verified by the standardwebhooks package, at every attempt, while secrets are replaced too', async () => {
  const { url, got } = await receiver((_got, response, _request, count) =>
    response.writeHead(count === 1 ? 500 : 200).end(),
  )
  const base64 = Buffer.from('k'.repeat(32)).toString('base64')
  const { deferq } = sending({
    http: { secret: [SECRET, `whsec_${base64}`], keys: { partner: `whsec_${base64}` } },
  })
  const { taskId } = await deferq.request({ url, json: { n: 1 }, sign: true, attemptInterval: 1 })
  await deferq.result(taskId)
  await deferq.result((await deferq.request({ url, body: 'raw', sign: 'partner' })).taskId)
  const [first, second, third] = got as [(typeof got)[0], (typeof got)[0], (typeof got)[0]]
  for (const { headers, body } of [first, second]) {
    expect(headers['webhook-id']).toBe(taskId)
    for (const hook of [new Webhook(SECRET, { format: 'raw' }), new Webhook(`whsec_${base64}`)]) {
      expect(hook.verify(body, headers as Record<string, string>)).toMatchObject({ n: 1 })
      expect(() => hook.verify(`${body} `, headers as Record<string, string>)).toThrow()
    }
  }
  new Webhook(base64).verify(third.body, third.headers as Record<string, string>, { jsonParse: false })
  expect(() =>
    new Webhook(SECRET, { format: 'raw' }).verify(third.body, third.headers as Record<string, string>),
  ).toThrow()
})
