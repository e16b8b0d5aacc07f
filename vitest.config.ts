import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { hasTag, TAGS, testFiles } from './test/runner/tags.mjs'
import { hasDeviceMapper } from './test/support/device-mapper.mjs'

const project = import.meta.dirname
const src = join(project, 'src')
const long = new Set(
  testFiles(project)
    .filter((file) => hasTag(file, 'thorough', 'judge', 'every-identity'))
    .map(({ path }) => join(project, path)),
)

/** A file that takes minutes would run alone at the end if it began last. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean => long.has(moduleId)
    // oxlint-disable-next-line no-array-sort -- not an array's
    const sorted = await super.sort(files)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

/** A worker thread loads its files without Vite, so it runs the compiled ones (`test/support/build.ts`). */
const compiledThreads = {
  name: 'compiled-threads',
  enforce: 'pre' as const,
  transform(code: string, id: string) {
    if (!id.startsWith(`${src}/`) || !code.includes('new Worker(')) return undefined
    const compiled = join(project, 'dist', id.slice(src.length).replace(/\.ts$/, '.js'))
    return { code: code.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(compiled))), map: null }
  },
}

/** Tests import the source. `test/package` alone tests the packed package. */
export default defineConfig({
  plugins: [compiledThreads],
  resolve: {
    alias: [
      { find: /^#layerstack\/(.*)\.js$/, replacement: `${src}/$1.ts` },
      { find: /^layerstack$/, replacement: join(src, 'index.ts') },
      { find: /^layerstack\/(conformance|drivers|drivers\/\w+)$/, replacement: `${src}/$1/index.ts` },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    tags: TAGS,
    globalSetup: 'test/support/build.ts',
    pool: 'forks',
    // Many tests wait for disks and daemons. The device-mapper's names are one for all, and its tests look at all of them.
    maxWorkers: hasDeviceMapper ? 1 : Math.max(3, availableParallelism() - 1),
    sequence: { sequencer: LongFirst },
    testTimeout: 600_000,
    hookTimeout: 600_000,
  },
})
