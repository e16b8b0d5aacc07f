import type { Driver } from 'layerstack'
import { content } from '../inputs.js'
import { task, type Workload } from '../workload.js'

/**
 * Docker's own benchmarks of graphdrivers (`graphtest/graphbench_unix.go`), with the same names and files. Docker's
 * `DiffN` calls `Diff(upper, "")`, which returns the whole stack. The variants that end in `native` return the
 * difference from the parent, as a commit does.
 */
export const graphbench: readonly Workload[] = [
  bench('Exists', 'check whether a layer exists, 1,000 times', async (driver) => {
    await driver.create('base')
    return { times: 1000, run: async () => void (await driver.exists('base')) }
  }),
  bench('GetEmpty', 'get the view of an empty layer, 100 times; put is not measured', async (driver) => {
    await driver.create('base')
    return {
      times: 100,
      run: async () => void (await driver.get('base')),
      after: () => driver.put('base'),
    }
  }),
  bench('DiffBase', 'read the tar of a base layer of three files, 20 times', async (driver) => {
    await driver.create('base')
    await write(driver, 'base', threeFiles())
    return { times: 20, run: () => drain(driver, 'base') }
  }),
  ...diffN('DiffSmallUpper', 10, 10),
  ...diffN('Diff10KFileUpper', 10, 10_000),
  ...diffN('Diff10KFilesBottom', 10_000, 10),
  bench('DiffApply100', 'apply the tar of a stack, 100 files over 100, to another layer', async (driver) => {
    const upper = await twoLayers(driver, 100, 100)
    let turn = 0
    return {
      times: 1,
      before: () => driver.create(`copy${++turn}`, 'base'),
      run: async () => void (await driver.applyDiff(`copy${turn}`, undefined, driver.diff(upper))),
      after: () => driver.remove(`copy${turn}`),
    }
  }),
  bench('DiffDeepLayer20', 'read the tar of a stack of 20 layers, 5 times', async (driver) => {
    const top = await deep(driver, 20)
    return { times: 5, run: () => drain(driver, top) }
  }),
  bench('DeepLayerRead20', 'read a file of the lowest of 20 layers, 200 times', async (driver) => {
    const top = await deep(driver, 20)
    const { fs } = await driver.get(top)
    return { times: 200, run: async () => void (await fs.readFile('/testfile.txt')) }
  }),
]

interface Round {
  readonly times: number
  readonly before?: () => Promise<void>
  readonly run: () => Promise<void>
  readonly after?: () => Promise<void>
}

type Contents = ReadonlyMap<string, number>

function bench(
  name: string,
  about: string,
  prepare: (driver: Driver) => Promise<Round>,
  depth = 22,
): Workload {
  return {
    name: `graphbench/${name}`,
    about,
    heavy: false,
    depth,
    driver: async (workspace) => {
      const driver = await workspace.openDriver()
      const { times, before, run, after } = await prepare(driver)
      return task(
        async (clock) => {
          for (let time = 0; time < times; time++) {
            await before?.()
            await clock.phase(name, run, times)
            await after?.()
          }
        },
        () => driver.cleanup(),
      )
    },
  }
}

function diffN(name: string, bottom: number, top: number): Workload[] {
  const [under, over] = [bottom.toLocaleString('en'), top.toLocaleString('en')]
  return [
    bench(name, `read the tar of a whole stack: ${over} files over ${under}`, async (driver) => {
      const upper = await twoLayers(driver, bottom, top)
      return { times: 1, run: () => drain(driver, upper) }
    }),
    bench(
      `${name} native`,
      `read the tar of the upper layer only: ${over} files over ${under}`,
      async (driver) => {
        const upper = await twoLayers(driver, bottom, top)
        return { times: 1, run: () => drain(driver, upper, 'base') }
      },
    ),
  ]
}

async function twoLayers(driver: Driver, bottom: number, top: number): Promise<string> {
  await driver.create('base')
  await write(driver, 'base', manyFiles(bottom))
  await driver.create('upper', 'base')
  await write(driver, 'upper', manyFiles(top))
  return 'upper'
}

async function deep(driver: Driver, count: number): Promise<string> {
  await driver.create('base')
  await write(driver, 'base', new Map([['testfile.txt', 12], ...threeFiles()]))
  let top = 'base'
  for (let index = 1; index <= count; index++) {
    const id = `layer${index}`
    await driver.create(id, top)
    const own = [`layer-${index}/layer-id`, `layer-${index}/parent-id`]
    await write(driver, id, new Map([['top-id', 64], ...own.map((path) => [path, 64] as const)]))
    top = id
  }
  return top
}

function threeFiles(): Contents {
  return new Map([
    ['file-a', 64],
    ['dir-b/file-b', 128],
    ['file-c', 128 * 128],
  ])
}

function manyFiles(count: number): Contents {
  const paths = Array.from(
    { length: count },
    (_, index) => `directory-${index - (index % 100)}/file-${index}`,
  )
  return new Map(paths.map((path) => [path, 64]))
}

async function write(driver: Driver, id: string, files: Contents): Promise<void> {
  const { fs } = await driver.get(id)
  for (const [path, size] of files) {
    const slash = path.indexOf('/')
    if (slash > 0) await fs.mkdir(`/${path.slice(0, slash)}`, { recursive: true })
    await fs.writeFile(`/${path}`, content(size), { mode: 0o755 })
  }
  await driver.put(id)
}

async function drain(driver: Driver, id: string, parent?: string): Promise<void> {
  for await (const _ of driver.diff(id, parent));
}
