import type { Driver } from '../drivers/driver.js'
import { StoreError } from '../errors.js'
import { HostFs } from '../fs/host-fs.js'
import type { HostFsSpec } from '../fs/spec.js'
import { UnionFs } from '../fs/union-fs.js'
import { diffChanges } from '../tar/diff.js'
import type { KeptLayer } from '../tar/layer-differences.js'
import { openContents, type LayerContents } from './layer-contents.js'

/** The tree of a layer as its driver keeps it, open for a comparison with the layer's tar. */
export interface KeptTrees extends AsyncDisposable, Pick<KeptLayer, 'form' | 'tree' | 'lower' | 'changes'> {}

export async function openKeptTrees(
  driver: Driver,
  cacheId: string,
  parentCacheId: string | undefined,
): Promise<KeptTrees> {
  const target = await driver.applyTarget?.(cacheId, parentCacheId)
  if (target?.form !== 'overlay') return openMerged(driver, cacheId, parentCacheId)
  const { files, lowers } = target
  await refuseOtherStack(driver, lowers, parentCacheId)
  const tree = new HostFs({ ...files, readOnly: true })
  try {
    const lower = lowers.length === 0 ? undefined : new UnionFs({ kind: 'union', lowers })
    const close = async (): Promise<void> => {
      lower?.close()
      tree.close()
    }
    return { form: 'overlay', tree, lower, [Symbol.asyncDispose]: close }
  } catch (error) {
    tree.close()
    throw error
  }
}

/** A layer that stands on other layers than its parent does shows a wrong tree, whatever is in it. */
async function refuseOtherStack(
  driver: Driver,
  lowers: readonly HostFsSpec[],
  parent: string | undefined,
): Promise<void> {
  const below = parent === undefined ? undefined : await driver.applyTarget?.(parent)
  const wanted = below === undefined ? [] : [below.files, ...below.lowers]
  const [is, shouldBe] = [lowers, wanted].map((specs) => specs.map(({ root }) => root).join(':'))
  if (is === shouldBe) return
  throw new StoreError('STORE_CORRUPT', `the driver stacks it on ${is}, not on ${shouldBe}`)
}

async function openMerged(driver: Driver, id: string, parent: string | undefined): Promise<KeptTrees> {
  const opened: LayerContents[] = []
  const close = async (): Promise<void> => {
    for (const contents of opened.splice(0).toReversed()) await contents.close()
  }
  try {
    for (const each of parent === undefined ? [id] : [id, parent])
      opened.push(await openContents(driver, each))
    const [tree, lower] = opened.map(({ raw }) => raw) as [KeptTrees['tree'], KeptTrees['lower']]
    const changes = lower && (tree.compare?.(lower) ?? (await snapshotChanges(driver, id, parent)))
    return { form: 'merged', tree, lower, changes, [Symbol.asyncDispose]: close }
  } catch (error) {
    await close()
    throw error
  }
}

/** A driver that finds what was written since a snapshot saves the comparison of everything else. */
async function snapshotChanges(
  driver: Driver,
  id: string,
  parent: string | undefined,
): Promise<KeptLayer['changes']> {
  const source = await driver.diffSource?.(id, parent)
  return source?.form === 'snapshot' ? diffChanges(source) : undefined
}
