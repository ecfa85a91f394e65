// Callbacks by URL that come over the interface: posted where the server allows it, and nowhere else.
import { expect, onTestFinished, test } from 'vitest'
import { eventually } from '../../src/conformance/scene.ts'
import { createClient, createHandler } from '../../src/http/index.ts'
import { DeferQ, task } from '../../src/index.ts'
import { httpRequest } from '../../src/requests/index.ts'
import { LOOPBACK, receiver } from '../requests/receiver.ts'
import type { Scene } from './scene.ts'
import { jsonOf, listenerOf, report, SECRET, served, setScene } from './scene.ts'

const fails = task('inner.fails', { retries: 0, run: (): never => expect.fail('never runs') })

function scene(webhooks?: true | string[]): Scene {
  const sender = httpRequest({ secret: SECRET, allow: LOOPBACK })
  const set = setScene(
    {
      allow: [],
      aliases: { yearly: 'report.generate', fails: 'inner.fails' },
      ...(webhooks === undefined ? {} : { webhooks }),
    },
    [fails, sender],
  )
  onTestFinished(() => set.close())
  return set
}

const ask = async (at: Scene, name: string, params: object, callback: unknown) => {
  const response = await at.ask('POST', '/tasks', { name, params, options: { callback } })
  return { status: response.status, body: await jsonOf(response) }
}

test('the outcome is posted, signed, in the words of the outside', async () => {
  const { url, got } = await receiver()
  const at = scene([url])
  const dispatched = await ask(at, 'yearly', { year: 1 }, [`${url}/hook`])
  expect(dispatched.status).toBe(202)
  const cancelled = await ask(at, 'fails', {}, { url: `${url}/other`, on: 'failure', timeout: '5s' })
  await at.ask('DELETE', `/tasks/${cancelled.body.taskId}`)
  await at.work()
  await eventually('both are told', () => got.length === 2)
  const told = Object.fromEntries(got.map(({ path, body }) => [path, JSON.parse(body)]))
  expect(told['/hook']).toMatchObject({
    type: 'task.completed',
    data: { id: dispatched.body.taskId, name: 'yearly', result: { year: 1, rows: 3 } },
  })
  expect(told['/other']).toMatchObject({ type: 'task.cancelled', data: { name: 'fails' } })
  expect(got.map(({ body }) => body).join()).not.toMatch(/report\.generate|inner\.fails/)
  expect(got[0]?.headers['webhook-signature']).toMatch(/^v1,/)
  // What posts it is the server's own affair.
  const { runs } = await jsonOf(await at.ask('GET', '/runs'))
  expect(new Set((runs as { name: string }[]).map(({ name }) => name))).toEqual(new Set(['yearly', 'fails']))
})

test('elsewhere nothing is posted, and nothing of the sender’s is lent', async () => {
  const { url } = await receiver()
  const nowhere = scene()
  expect(await ask(nowhere, 'yearly', { year: 2 }, url)).toMatchObject({
    status: 422,
    body: { code: 'INVALID_OPTION', detail: expect.stringMatching(/posts to no URL/) },
  })
  const here = scene(['https://app.example'])
  expect(await ask(here, 'yearly', { year: 2 }, url)).toMatchObject({
    status: 422,
    body: { detail: expect.stringMatching(/posts to https:\/\/app\.example, and not to/) },
  })
  const anywhere = scene(true)
  for (const more of [
    { headers: { authorization: { key: 'partner' } } },
    { jwt: { key: 'partner' } },
    { sign: 'partner' },
  ])
    expect((await ask(anywhere, 'yearly', { year: 2 }, { url, ...more })).status).toBe(422)
  expect((await ask(anywhere, 'yearly', { year: 2 }, 'https://a b')).status).toBe(422)
  // A callback is all it may be: no request of the caller's own making.
  expect(await ask(anywhere, 'http.request', { url }, undefined)).toMatchObject({
    status: 422,
    body: { code: 'UNKNOWN_TASK' },
  })
  expect(await ask(anywhere, 'yearly', { year: 2 }, { name: 'http.request', params: { url } })).toMatchObject(
    {
      body: { code: 'UNKNOWN_TASK' },
    },
  )
  expect((await anywhere.deferq.list()).receipts.filter(({ name }) => name !== 'deferq.request')).toEqual([])
})

test('from the client, and for a batch', async () => {
  const { url, got } = await receiver()
  const at = scene([url])
  const server = await served(listenerOf(at.handler))
  const client = createClient({ url: server.url, secret: SECRET })
  onTestFinished(async () => {
    await client.close()
    await server.close()
  })
  await at.work()
  await client.dispatch('yearly', { year: 3 }, { callback: new URL(`${url}/one`).href })
  await eventually('the first is told', () => got.length === 1)
  expect(JSON.parse(got[0]?.body ?? '')).toMatchObject({ data: { name: 'yearly', status: 'completed' } })
  const items = [{ name: 'yearly', params: { year: 4 } }]
  const batch = await jsonOf(await at.ask('POST', '/batches', { items, finally: `${url}/all` }))
  await eventually('the batch is told of', () => got.length === 2)
  expect(got[1]?.path).toBe('/all')
  expect(JSON.parse(got[1]?.body ?? '')).toMatchObject({ data: { id: batch.id, status: 'completed' } })
  await expect(client.dispatch('yearly', { year: 5 }, { callback: 'https://not.here' })).rejects.toThrow(
    /and not to 'https:\/\/not\.here'/,
  )
})

test('wrong usage: origins with a path, and no task that sends', async () => {
  const deferq = new DeferQ({ tasks: [report] })
  onTestFinished(() => deferq.close())
  const options = { secrets: SECRET, allow: ['report.generate'] }
  for (const webhooks of [['https://app.example/hook'], ['app.example'], 'https://app.example', false, [7]])
    expect(() => createHandler(deferq, { ...options, webhooks: webhooks as never })).toThrow(
      /list of origins/,
    )
  expect(() => createHandler(deferq, { ...options, webhooks: true })).toThrow(
    /httpRequest\(\) of deferq\/requests/,
  )
})
