// A crowd of HTTP clients: each asks for the same report, and polls until it has it.

import { setMaxListeners } from 'node:events'
import type { Agent } from 'node:http'
import { get } from 'node:http'
import { environment } from '../base/environment.ts'
import { sleep } from '../base/time.ts'
import type { Wanted } from './report.ts'

const POLL_MS = 200

/** What one client was told, and how many milliseconds after it had asked. */
export interface Answer {
  /** Of its dispatch, as the app's receipt had it. */
  outcome: string
  taskId: string
  firstMs: number
  doneMs: number
  result: unknown
}

/** How far the crowd is. */
export interface Standing {
  size: number
  /** Have had a first answer. */
  heard: number
  /** Have the report. */
  done: number
  status: string
  /** 0 to 1, of the run that they wait for. */
  progress: number
}

export interface Question {
  base: string
  wanted: Wanted
  size: number
  agent: Agent
  signal: AbortSignal
  watch(standing: Standing): void
}

interface Body {
  taskId: string
  status: string
  outcome?: string
  progress?: number
  result?: unknown
  error?: { message: string }
}

/** Opens a connection for each client, so that the crowd's first moment is spent on asking. */
export async function connect(question: Pick<Question, 'base' | 'size' | 'agent'>): Promise<void> {
  await Promise.all(Array.from({ length: question.size }, () => read(`${question.base}/runs`, question)))
}

/** All clients at the same time. */
export async function askAtOnce(question: Question): Promise<Answer[]> {
  const ending = new AbortController()
  // Each client listens, and the first one that fails ends the others.
  const signal = AbortSignal.any([question.signal, ending.signal])
  setMaxListeners(0, signal)
  const standing = beginning(question)
  try {
    const crowd = { ...question, signal }
    const begun = await Promise.all(Array.from({ length: question.size }, () => begin(crowd, standing)))
    // Nobody polls before everybody has asked: on a busy machine the polls would keep the last ones waiting.
    return await Promise.all(begun.map((each) => finish(crowd, standing, each)))
  } finally {
    ending.abort()
  }
}

/** One client after the other, so that what is measured is the app and not the queue in front of it. */
export async function askInTurn(question: Question): Promise<Answer[]> {
  const standing = beginning(question)
  const answers: Answer[] = []
  while (answers.length < question.size) {
    answers.push(await finish(question, standing, await begin(question, standing)))
  }
  return answers
}

const beginning = ({ size }: Question): Standing => ({
  size,
  heard: 0,
  done: 0,
  status: 'asked',
  progress: 0,
})

interface Begun {
  startedAt: number
  firstMs: number
  body: Body
}

async function begin(question: Question, standing: Standing): Promise<Begun> {
  const { base, wanted, watch } = question
  const startedAt = environment.monotonic()
  const body = await read(`${base}/report?year=${wanted.year}&format=${wanted.format}`, question)
  standing.heard++
  note(standing, body)
  watch(standing)
  return { startedAt, firstMs: environment.monotonic() - startedAt, body }
}

async function finish(question: Question, standing: Standing, begun: Begun): Promise<Answer> {
  const { base, signal, watch } = question
  const { outcome = 'unknown', taskId } = begun.body
  let { body } = begun
  while (body.status !== 'completed') {
    // Spread, so that they don't come all in one moment.
    await sleep(POLL_MS * (0.5 + environment.random()), signal)
    signal?.throwIfAborted()
    body = await read(`${base}/tasks/${taskId}`, question)
    note(standing, body)
    watch(standing)
  }
  standing.done++
  watch(standing)
  const doneMs = environment.monotonic() - begun.startedAt
  return { outcome, taskId, firstMs: begun.firstMs, doneMs, result: body.result }
}

function note(standing: Standing, { status, progress = 0 }: Body): void {
  standing.status = status
  standing.progress = Math.max(standing.progress, status === 'completed' ? 1 : progress)
}

/** What the app says of a run that is under way or completed; anything else is a failure. */
function read(url: string, { agent, signal }: Pick<Question, 'agent'> & Partial<Question>): Promise<Body> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent, signal }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        text += part
      })
      response.on('error', reject)
      response.on('end', () => {
        try {
          const body = JSON.parse(text) as Body
          if (response.statusCode === 200 || response.statusCode === 202) resolve(body)
          else
            reject(
              new Error(`The app answered ${response.statusCode}: ${body.error?.message ?? body.status}`),
            )
        } catch (error) {
          reject(error)
        }
      })
    })
    request.on('error', reject)
  })
}
