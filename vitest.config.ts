import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { hasDeviceMapper } from './test/support/device-mapper.mjs'

/** These take minutes each. Begun last, one of them would run alone at the end. */
const LONG = ['faults/kill', 'odd-layers/store', 'odd-layers/judges', 'judges/root', 'judges/image']

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean =>
      LONG.some((name) => moduleId.endsWith(`/${name}.test.ts`))
    // oxlint-disable-next-line no-array-sort -- not an array's
    const sorted = await super.sort(files)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

/** Tests run what users run: the compiled package in `dist/`, loaded by Node itself. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    server: { deps: { external: [/\/dist\//] } },
    pool: 'forks',
    // Many tests wait for disks and daemons. The device-mapper's names are one for all, and its tests look at all of them.
    maxWorkers: hasDeviceMapper ? 1 : Math.max(3, availableParallelism() - 1),
    sequence: { sequencer: LongFirst },
    testTimeout: 240_000,
    hookTimeout: 300_000,
  },
})
