// One of the processes of a herd: asks for one thing as often as it is told to, all at once, and answers how long that took.
import { NAME, openDeferq, openIoredis, paramsOf } from './contenders.mjs'

const [what, url] = process.argv.slice(2)
const KINDS = {
  async deferq() {
    const { deferq, close } = await openDeferq({ url })
    return { call: (key) => deferq.run(NAME, paramsOf(key)), close }
  },
  async get() {
    const { client, close } = await openIoredis({ url })
    return { call: (key) => client.get(`result:${key}`), close }
  },
}
const { call, close } = await KINDS[what]()
process.on('message', async ({ key, callers }) => {
  const began = performance.now()
  const answers = await Promise.all(Array.from({ length: callers }, () => call(key)))
  const took = performance.now() - began
  process.send({ took, answers: new Set(answers.map((each) => JSON.stringify(each))).size })
})
process.on('disconnect', async () => {
  await close()
  process.exit()
})
process.send({ ready: true })
