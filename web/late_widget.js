// The first pages with Nodes 2.0 look at a node's widgets once, when it is added to the graph: one that comes
// later, as what a run has to show, is not drawn unless they look again.
const SOON_MS = 300;

export function showLate(node, element) {
  if (LiteGraph.vueNodesMode) {
    setTimeout(() => element.isConnected || node.graph?.onNodeAdded?.(node), SOON_MS);
  }
}
