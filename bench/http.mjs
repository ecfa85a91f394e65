// A server in this process and callers in another, so that the figure is the server's and not that of its clients.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { NAME, openBullmq, openDeferq } from './contenders.mjs'

const CALLERS = 50
export const SECRET = 'what the benchmark signs its requests with'

/** `listen` makes a server listen at a port that it answers; what is asked for is one of `keys` pieces of work, or a new one each time. */
export async function asked(listen, { keys, signed = false, status }) {
  const { port, close } = await listen()
  const callers = fork(new URL('./http-callers.mjs', import.meta.url), { execArgv: [] })
  await once(callers, 'message')
  let from = 0
  return {
    async call(size) {
      callers.send({
        port,
        size,
        from,
        keys,
        callers: CALLERS,
        status,
        name: NAME,
        ...(signed ? { secret: SECRET } : {}),
      })
      from += size
      const [{ perSecond, error }] = await once(callers, 'message')
      if (error !== undefined) throw new Error(error)
      return perSecond
    },
    async close() {
      callers.disconnect()
      await close()
    },
  }
}

export async function listening(listener, close) {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: server.address().port,
    async close() {
      server.closeAllConnections()
      server.close()
      await close()
    },
  }
}

/** The interface, and what is cached behind it. */
export async function openInterface(at, { signed = false, results = 0 } = {}) {
  const { DIST, paramsOf } = await import('./contenders.mjs')
  const { createHandler, toNodeListener } = await import(new URL('src/http/index.js', DIST))
  const { deferq, worker, close } = await openDeferq(at, { run: () => RESULT, concurrency: 100 })
  if (results > 0) {
    void worker.run()
    await Promise.all(Array.from({ length: results }, (_, index) => deferq.run(NAME, paramsOf(index))))
    await worker.stop()
  }
  const auth = signed ? { secrets: SECRET } : { auth: 'local-only' }
  return { deferq, listener: toNodeListener(createHandler(deferq, { allow: [NAME], ...auth })), close }
}

export const RESULT = { url: '/reports/report.xlsx', rows: 15_000 }

/** The route as it is written by hand: a job is added, and the answer says where its state can be asked for. */
export async function fastifyBullmq(at) {
  const { default: fastify } = await import('fastify')
  const { queue, close } = await openBullmq(at)
  const app = fastify()
  app.post('/tasks', async (request, reply) => {
    const { name, params } = request.body
    const job = await queue.add(name, params)
    return reply
      .code(202)
      .header('location', `/tasks/${job.id}`)
      .header('retry-after', '1')
      .send({ taskId: job.id, status: 'pending' })
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    port: app.server.address().port,
    async close() {
      app.server.closeAllConnections()
      await app.close()
      await close()
    },
  }
}

/** A handler without any framework that asks deferq itself, and answers what it says. */
export const byHand = (deferq) => (request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', async () => {
    const { name, params } = JSON.parse(Buffer.concat(chunks).toString())
    const { taskId, status, outcome, result } = await deferq.dispatch(name, params)
    const body = JSON.stringify({ taskId, status, outcome, result })
    response.writeHead(status === 'completed' ? 200 : 202, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    })
    response.end(body)
  })
}
