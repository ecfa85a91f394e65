// What deferq/requests exports: the ready task that sends requests, and what goes with it.

export type { HeaderValue, JwtOptions, RequestParams, WebhookCallback } from '../tasks/request-params.ts'
export type { Key, Keys } from './keys.ts'
export type { RequestOptions, RequestResult } from './request-spec.ts'
export { type HttpRequestOptions, httpRequest } from './task.ts'
