// POST /tasks for results that are cached, from fifty callers in another process.
import { asked, byHand, listening, openInterface } from '../http.mjs'

export const title = 'http-hit: POST /tasks of cached results, 50 callers in another process'
export const unit = '/s'
export const size = { full: 10_000, quick: 400 }
export const rounds = { full: 7, quick: 1 }
export const engines = ['redis', 'memory', 'sqlite']

const KEYS = 1_000
const opened = (at, signed) => openInterface(at, { signed, results: KEYS })

export const contenders = {
  async deferq(at) {
    const { listener, close } = await opened(at, false)
    return asked(() => listening(listener, close), { keys: KEYS, status: 200 })
  },

  async 'deferq, signed'(at) {
    const { listener, close } = await opened(at, true)
    return asked(() => listening(listener, close), { keys: KEYS, status: 200, signed: true })
  },

  async 'floor: node:http'(at) {
    const { deferq, close } = await opened(at, false)
    return asked(() => listening(byHand(deferq), close), { keys: KEYS, status: 200 })
  },
}

export const measure = ({ call }, count) => call(count)
