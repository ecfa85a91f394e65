// POST /tasks for new tasks, each with params of its own, from fifty callers in another process.
import { asked, byHand, fastifyBullmq, listening, openInterface } from '../http.mjs'

export const title = 'http-new: POST /tasks of new tasks, 50 callers in another process'
export const unit = '/s'
export const size = { full: 10_000, quick: 400 }
export const rounds = { full: 7, quick: 1 }
export const engines = ['redis', 'memory', 'sqlite']

const served = (options) => async (at) => {
  const { listener, close } = await openInterface(at, options)
  return listening(listener, close)
}

export const contenders = {
  deferq: (at) => asked(() => served({})(at), { status: 202 }),
  'deferq, signed': (at) => asked(() => served({ signed: true })(at), { status: 202, signed: true }),
  'fastify + bullmq': (at) => asked(() => fastifyBullmq(at), { status: 202 }),

  'floor: node:http': (at) =>
    asked(
      async () => {
        const { deferq, close } = await openInterface(at)
        return listening(byHand(deferq), close)
      },
      { status: 202 },
    ),
}

export const measure = ({ call }, count) => call(count)
