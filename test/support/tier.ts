/** Whether long tests run, as with `npm run test:all` and `npm test -- PATH`. */
export const isThorough = process.env['LAYERSTACK_TEST_THOROUGH'] !== undefined

const identity = process.env['LAYERSTACK_TEST_IDENTITY'] ?? 'caller'

/** Whether the tests run as the user who started them, not again with less privilege (`test/runner/identities.mjs`). */
export const isCaller = identity === 'caller'

export const isInUserModeLinux = identity === 'uml'
