// Moves, removes and creates objects in a union at random until it is killed. Writes no content.
import { UnionFs } from '#layerstack/fs/union/union-fs.js'

const union = new UnionFs({ ...JSON.parse(process.env.UNION_SPEC), volatile: true })
let state = Number(process.env.UNION_SEED) + 1
const pick = (values) => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  return values[(state >>> 8) % values.length]
}
const NAMES = ['a', 'b', 'c', 'd']
const path = () => {
  let made = pick(NAMES)
  while (pick([true, false])) made += `/${pick(NAMES)}`
  return made
}
const changes = [
  () => union.rename(path(), path()),
  () => union.unlink(path()),
  () => union.rmdir(path()),
  () => union.mkdir(path(), 0o755),
  () => union.symlink('nowhere', path()),
  () => union.link(path(), path()),
  () => union.chmod(path(), 0o640),
]
for (let number = 0; ; number += 1) {
  try {
    pick(changes)()
  } catch (error) {
    if (error.code === undefined) throw error
  }
  if (number === 100) console.log('under way')
}
