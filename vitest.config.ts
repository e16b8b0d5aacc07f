import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

const MISC = '/proc/misc'
/** Its names are one for all, and the tests look at all of them: then one file at a time. */
const hasDeviceMapper = existsSync(MISC) && readFileSync(MISC, 'utf8').includes('device-mapper')

/** Tests run what users run: the compiled package in `dist/`, loaded by Node itself. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    server: { deps: { external: [/\/dist\//] } },
    pool: 'forks',
    // Many tests wait for disks and daemons.
    maxWorkers: hasDeviceMapper ? 1 : Math.max(3, availableParallelism() - 1),
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
