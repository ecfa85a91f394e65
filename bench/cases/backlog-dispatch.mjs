// What a dispatch costs beside more and more that waits.
export { contenders, engines, lasting, size, slow, unit } from '../backlog.mjs'

export const title = 'backlog: dispatch, 100 callers, beside 1,000 that wait'
// What a round has added is worked off before the next.
let added = 0
export const prepare = async ({ work }) => {
  if (added > 0) await work(added)
}
export const measure = ({ dispatch }, count) => {
  added = count
  return dispatch(count)
}
