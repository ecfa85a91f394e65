// The callers of a server under measurement, in a process of their own: told how many requests to send, it answers their rate.
import { Agent, request } from 'node:http'
import { DIST, paramsOf } from './contenders.mjs'
import { callsPerSecond } from './load.mjs'

const agent = new Agent({ keepAlive: true })
const { keysOf, sign } = await import(new URL('src/http/index.js', DIST))

process.on('message', async ({ port, size, from, keys, callers, status, name, secret }) => {
  const key = secret === undefined ? undefined : keysOf(secret, 'secret')
  const post = (index) =>
    new Promise((resolve, reject) => {
      const body = JSON.stringify({
        name,
        params: paramsOf(keys === undefined ? from + index : index % keys),
      })
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
      if (key !== undefined)
        Object.assign(headers, sign(key, { body, request: { method: 'POST', target: '/tasks' } }))
      const sent = request(
        { agent, host: '127.0.0.1', port, path: '/tasks', method: 'POST', headers },
        (response) => {
          if (response.statusCode !== status)
            reject(new Error(`It answered ${response.statusCode} where ${status} was expected.`))
          response.resume().on('end', resolve)
        },
      )
      sent.on('error', reject)
      sent.end(body)
    })
  try {
    process.send({ perSecond: await callsPerSecond(size, callers, post) })
  } catch (error) {
    process.send({ error: error.stack })
  }
})
process.on('disconnect', () => process.exit())
process.send({ ready: true })
