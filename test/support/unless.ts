import type { TestOptions } from 'vitest'

declare module 'vitest' {
  interface TaskMeta {
    /** Why the test is skipped. `test/runner/report.mjs` prints it. */
    reason?: string
  }
}

/** Why a test cannot run on this host; `undefined` if it can. */
export type Reason = string | undefined

/** Options that skip a `describe` or an `it` for the first of these reasons: `it('does', unless(noMounts), …)`. */
export function unless(...reasons: readonly Reason[]): TestOptions {
  const reason = reasons.find((each) => each !== undefined)
  return reason === undefined ? {} : { skip: true, meta: { reason } }
}
