// Outgoing requests: the ready task, and how a request is dispatched.
export type { Key, Keys } from './keys.ts'
export type { HeaderValue, JwtOptions, RequestOptions, RequestParams, RequestResult } from './order.ts'
export { dispatchOf, HTTP_REQUEST } from './order.ts'
export { type HttpRequestOptions, httpRequest } from './task.ts'
