// https: requests go there with a certificate that is verified, by the name that was asked for, and nowhere else.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { DeferQ } from '../../src/index.ts'
import { eventually, sqlite } from '../facade/places.ts'
import { start } from '../faults/processes.ts'
import { sending } from './receiver.ts'

/** A server for localhost with a certificate of its own making. */
async function secure(): Promise<{ port: number; certificate: string; names: (string | false)[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'deferq-tls-'))
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
      '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', certificate], // biome-ignore format: one command
    { stdio: 'ignore' },
  )
  const names: (string | false)[] = []
  const server = createServer(
    { key: readFileSync(key), cert: readFileSync(certificate) },
    (request, response) => {
      names.push((request.socket as import('node:tls').TLSSocket & { servername: string | false }).servername)
      response.end('safe')
    },
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    rmSync(folder, { recursive: true, force: true })
  })
  return { port: (server.address() as AddressInfo).port, certificate, names }
}

test('a certificate that nobody vouches for is a failed attempt', async () => {
  const { port, names } = await secure()
  const { deferq } = sending()
  const { taskId } = await deferq.request({
    url: `https://localhost:${port}`,
    attemptLimit: 2,
    attemptInterval: 1,
  })
  await expect(deferq.result(taskId)).rejects.toThrow(
    /failed with (DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT)/,
  )
  expect((await deferq.getStatus(taskId)).attempt).toBe(2)
  expect(names).toEqual([])
})

test('one that is known is taken, for the name that it was made for', async () => {
  const { port, certificate, names } = await secure()
  const place = await sqlite()
  const deferq = place.deferq() as unknown as DeferQ
  const known = { NODE_EXTRA_CA_CERTS: certificate }
  const before = { ...process.env }
  Object.assign(process.env, known)
  onTestFinished(() => {
    process.env = before
  })
  const worker = await start('../requests/sender', place.url as string, '{"sleep":50}')
  const good = await deferq.request({ url: `https://localhost:${port}` })
  const wrong = await deferq.request({ url: `https://127.0.0.1:${port}`, attemptLimit: 1 })
  expect(await deferq.result(good.taskId, { timeout: 10_000 })).toMatchObject({ status: 200, body: 'safe' })
  await eventually(
    'the other is given up',
    async () => (await deferq.getStatus(wrong.taskId)).status === 'failed',
  )
  await expect(deferq.result(wrong.taskId)).rejects.toThrow(/ERR_TLS_CERT_ALTNAME_INVALID/)
  expect(names).toEqual(['localhost'])
  worker.signal('SIGTERM')
  expect((await worker.ended()).code).toBe(0)
})
