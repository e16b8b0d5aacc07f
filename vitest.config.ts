import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { hasDeviceMapper } from './test/support/device-mapper.mjs'

/** Tests run what users run: the compiled package in `dist/`, loaded by Node itself. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    server: { deps: { external: [/\/dist\//] } },
    pool: 'forks',
    // Many tests wait for disks and daemons. The device-mapper's names are one for all, and its tests look at all of them.
    maxWorkers: hasDeviceMapper ? 1 : Math.max(3, availableParallelism() - 1),
    testTimeout: 240_000,
    hookTimeout: 300_000,
  },
})
