import type { Driver } from '../drivers/driver.js'
import { StoreError } from '../errors.js'
import type { HostFsSpec } from '../fs/spec.js'
import type { KeptTrees, KeptTreesSpec } from '../jobs/work/verify.js'
import { openContents, type LayerContents } from './layer-contents.js'

/** The layer's tree and the tree below it; `undefined` for a driver that does not keep trees in host directories. */
export async function keptTreesOf(
  driver: Driver,
  id: string,
  parent: string | undefined,
): Promise<KeptTreesSpec | undefined> {
  const target = await driver.applyTarget?.(id, parent)
  if (target?.form === 'overlay') {
    const { files, lowers } = target
    await refuseOtherStack(driver, lowers, parent)
    return { form: 'overlay', files, lowers }
  }
  const files = await driver.contents?.(id)
  const lower = parent === undefined ? undefined : await driver.contents?.(parent)
  if (files === undefined || (parent !== undefined && lower === undefined)) return undefined
  const source = lower && (await driver.diffSource?.(id, parent))
  // With a snapshot, only what changed since it was made is compared.
  return { form: 'merged', files, lower, snapshot: source?.form === 'snapshot' ? source : undefined }
}

/** A layer that the driver stacks on wrong layers shows a wrong tree, whatever it contains. */
async function refuseOtherStack(
  driver: Driver,
  lowers: readonly HostFsSpec[],
  parent: string | undefined,
): Promise<void> {
  const below = parent === undefined ? undefined : await driver.applyTarget?.(parent)
  const wanted = below === undefined ? [] : [below.files, ...below.lowers]
  const [is, shouldBe] = [lowers, wanted].map((specs) => specs.map(({ root }) => root).join(':'))
  if (is === shouldBe) return
  throw new StoreError('STORE_CORRUPT', `the driver stacks it on [${is}] instead of [${shouldBe}]`)
}

export interface OpenKeptTrees extends KeptTrees, AsyncDisposable {}

/** Opens views of the layer and of the one below. Other threads cannot open them. */
export async function openKeptTrees(
  driver: Driver,
  id: string,
  parent: string | undefined,
): Promise<OpenKeptTrees> {
  const opened: LayerContents[] = []
  const close = async (): Promise<void> => {
    for (const contents of opened.splice(0).toReversed()) await contents.close()
  }
  try {
    for (const each of parent === undefined ? [id] : [id, parent])
      opened.push(await openContents(driver, each))
    const [tree, lower] = opened.map(({ syncFs }) => syncFs) as [KeptTrees['tree'], KeptTrees['lower']]
    const changes = lower && tree.compare?.(lower)
    return { form: 'merged', tree, lower, changes, [Symbol.asyncDispose]: close }
  } catch (error) {
    await close()
    throw error
  }
}
