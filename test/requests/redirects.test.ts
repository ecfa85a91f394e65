// Redirects: followed within bounds, with the method that the RFC says, and without credentials for another origin.
import type { LookupFunction } from 'node:net'
import { expect, test } from 'vitest'
import { redirected } from '../../src/requests/redirects.ts'
import { receiver, sending } from './receiver.ts'

test('a redirect is followed, and its target told with the result', async () => {
  const { url, got } = await receiver(({ path }, response) =>
    path === '/old' ? response.writeHead(308, { location: '/new?x=1' }).end() : response.end('there'),
  )
  const { deferq } = sending()
  const { taskId } = await deferq.request({ url: `${url}/old`, json: { n: 1 } })
  expect(await deferq.result(taskId)).toMatchObject({ status: 200, body: 'there', url: `${url}/new?x=1` })
  expect(got.map(({ method, path }) => `${method} ${path}`)).toEqual(['POST /old', 'POST /new?x=1'])
  expect(got[1]?.body).toBe(got[0]?.body)
})

test('the method after a redirect is as RFC 9110 has it', async () => {
  const { url, got } = await receiver(({ path }, response) => {
    const code = Number(path.slice(1))
    return code > 0 ? response.writeHead(code, { location: '/' }).end() : response.end()
  })
  const { deferq } = sending()
  const expected = {
    301: { GET: 'GET', POST: 'GET', PUT: 'PUT', DELETE: 'DELETE' },
    302: { GET: 'GET', POST: 'GET', PATCH: 'PATCH' },
    303: { GET: 'GET', HEAD: 'HEAD', POST: 'GET', PUT: 'GET', DELETE: 'GET' },
    307: { GET: 'GET', POST: 'POST', PUT: 'PUT' },
    308: { POST: 'POST', PATCH: 'PATCH' },
  } as const
  for (const [code, methods] of Object.entries(expected)) {
    for (const [method, after] of Object.entries(methods)) {
      const body = method === 'GET' || method === 'HEAD' || method === 'DELETE' ? {} : { body: 'text' }
      const { taskId } = await deferq.request({ url: `${url}/${code}`, method: method as 'GET', ...body })
      await deferq.result(taskId)
      const { method: then, body: sent, headers } = got.at(-1) as (typeof got)[0]
      expect(then, `${method} after ${code}`).toBe(after)
      expect(sent).toBe(then === method && 'body' in body ? 'text' : '')
      if (then !== method) expect(headers).not.toHaveProperty('content-type')
    }
  }
})

test('a code that the caller names is an answer, not a redirect', async () => {
  const { url, got } = await receiver((_got, response) =>
    response.writeHead(302, { location: '/next' }).end('moved'),
  )
  const { deferq } = sending()
  const good = await deferq.request({ url, successCodes: [302] })
  expect(await deferq.result(good.taskId)).toMatchObject({ status: 302, body: 'moved' })
  const stopped = await deferq.request({ url, stopCodes: [302] })
  await expect(deferq.result(stopped.taskId)).rejects.toThrow(/302 Found, and is given up/)
  expect(got).toHaveLength(2)
})

test('redirects without end are tried again later, and one without a target is no success', async () => {
  const { url, got } = await receiver(({ path }, response) =>
    path === '/lost'
      ? response.writeHead(302).end()
      : response.writeHead(302, { location: `${path}x` }).end(),
  )
  const { deferq } = sending()
  const round = await deferq.request({ url: `${url}/`, attemptLimit: 2, attemptInterval: 1 })
  await expect(deferq.result(round.taskId)).rejects.toThrow(/redirected more than 5 times/)
  expect(got).toHaveLength(12)
  const lost = await deferq.request({ url: `${url}/lost`, attemptLimit: 1 })
  await expect(deferq.result(lost.taskId)).rejects.toThrow(/302 Found/)
})

test('what was meant for one origin does not reach another', async () => {
  const other = await receiver()
  const { url, got } = await receiver((_got, response) =>
    response.writeHead(307, { location: other.url }).end(),
  )
  const { deferq } = sending({ http: { secret: 's'.repeat(32), keys: { k: 'k'.repeat(64) } } })
  const headers = { authorization: 'Basic x', Cookie: 'a=b', 'X-Api-Key': { key: 'k' }, accept: 'text/html' }
  const plain = await deferq.request({ url, json: {}, sign: true, headers })
  await deferq.result(plain.taskId)
  const token = await deferq.request({ url, json: {}, jwt: { key: 'k', header: 'x-jwt' } })
  await deferq.result(token.taskId)
  expect(got[0]?.headers).toMatchObject({
    authorization: 'Basic x',
    cookie: 'a=b',
    'x-api-key': 'k'.repeat(64),
  })
  expect(got[1]?.headers).toHaveProperty('x-jwt')
  for (const { headers: there } of other.got) {
    for (const name of ['authorization', 'cookie', 'x-api-key', 'x-jwt'])
      expect(there).not.toHaveProperty(name)
    expect(there).toHaveProperty('idempotency-key')
  }
  expect(other.got[0]?.headers).toMatchObject({ accept: 'text/html', 'webhook-id': plain.taskId })
})

test('a redirect into the private net is refused, in every spelling, and given up', async () => {
  const secret = await receiver()
  const targets = [
    `http://localhost:${secret.port}/`,
    `http://127.0.0.2:${secret.port}/`,
    `http://2130706434:${secret.port}/`,
    `http://0x7f.2:${secret.port}/`,
    `//0177.0.0.2:${secret.port}/`,
    `http://[::ffff:127.0.0.2]:${secret.port}/`,
    `http://[::1]:${secret.port}/`,
    'http://169.254.169.254/latest/meta-data/',
    'http://10.0.0.1/',
    'http://user:pass@127.0.0.1/',
    'file:///etc/passwd',
    'gopher://127.0.0.1/',
  ]
  const { url, got } = await receiver(({ path }, response) =>
    response.writeHead(302, { location: targets[Number(path.slice(1))] }).end(),
  )
  const { deferq } = sending({ http: { allow: ['127.0.0.1'], lookup: loopback('127.0.0.3') } })
  for (const [index, target] of targets.entries()) {
    const { taskId } = await deferq.request({ url: `${url}/${index}`, attemptInterval: 1 })
    await expect(deferq.result(taskId), target).rejects.toMatchObject({
      code: 'TASK_FAILED',
      cause: { code: 'ADDRESS_REFUSED' },
      details: { attempts: 1 },
    })
  }
  expect(got).toHaveLength(targets.length)
  expect(secret.got).toHaveLength(0)
})

test('a name that rebinds between the look at it and the connection gets nowhere', async () => {
  const { port, got } = await receiver()
  let asked = 0
  const rebinding = ((_host: string, _options: unknown, done: (...answer: unknown[]) => void) => {
    // Allowed (and nobody there) when a guard would look, forbidden when a socket would connect.
    const address = asked++ % 2 === 0 ? '127.0.0.3' : '127.0.0.1'
    done(null, [{ address, family: 4 }])
  }) as unknown as LookupFunction
  const { deferq } = sending({ http: { allow: ['127.0.0.3'], lookup: rebinding } })
  for (let count = 0; count < 4; count++) {
    const request = { url: `http://rebinding.example:${port}/${count}`, timeout: 150, attemptLimit: 1 }
    await expect(deferq.result((await deferq.request(request)).taskId)).rejects.toThrow(/http.request/)
  }
  expect(asked).toBe(4)
  expect(got).toHaveLength(0)
})

test('https is not left for http', () => {
  const outgoing = { method: 'POST', url: new URL('https://a.example/'), headers: {}, body: undefined }
  expect(() => redirected(outgoing, 307, new URL('http://a.example/'))).toThrow(
    expect.objectContaining({ code: 'ADDRESS_REFUSED' }),
  )
  expect(redirected(outgoing, 307, new URL('https://b.example/')).method).toBe('POST')
})

function loopback(address: string): LookupFunction {
  return ((_host: string, _options: unknown, done: (...answer: unknown[]) => void) =>
    done(null, [{ address, family: 4 }])) as unknown as LookupFunction
}
