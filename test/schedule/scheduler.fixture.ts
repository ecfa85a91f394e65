// A process with several schedulers in it, whose clock may be off: node --import tsx scheduler.fixture.ts <url> <shift-ms> <count>
import type { Context } from '../../src/index.ts'
import { DeferQ, task, Worker } from '../../src/index.ts'

const [url, shift, count] = process.argv.slice(2) as [string, string, string]
const real = (): number => performance.timeOrigin + performance.now()

const RealDate = Date
globalThis.Date = class extends RealDate {
  constructor(...args: []) {
    if (args.length === 0) super(RealDate.now() + Number(shift))
    else super(...args)
  }
  static override now(): number {
    return RealDate.now() + Number(shift)
  }
} as DateConstructor

const job = task('job', {
  run: (_: { n: number }, { occurrence }: Context) => {
    const at = (occurrence as { at: Date }).at.getTime()
    process.stdout.write(`${JSON.stringify({ at, late: real() - at })}\n`)
  },
})
for (let index = 0; index < Number(count); index++) {
  const deferq = new DeferQ({ url, tasks: [job] })
  await deferq.schedule('x', { cron: '* * * * * *', name: 'job', params: { n: 1 }, missed: 'all' })
  void new Worker(deferq, { lease: '2s', sweep: 200 }).run()
}
