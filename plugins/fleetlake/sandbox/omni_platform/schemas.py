"""The two GraphQL schemas, written from the vendor page; the open questions change them."""

from __future__ import annotations

from graphql import GraphQLSchema, build_schema

from fleetlake.sandbox.omni_platform.assumptions import OmniAssumptions
from fleetlake.sandbox.omni_platform.happenings import NEWER

_COMMON = """
scalar JSON
scalar DateTime
enum OrderDirection { ASC DESC }
input OffsetPaginationInput { offset: Int limit: Int }
"""

_EVENTS = """
enum EventType { IDENTIFICATION NON_IDENTIFICATION HAR ROI CROSSING FACE_HIDE_CONTROL %(newer)s }
enum EndpointType { WEB_SOCKET WEB_HOOK }
input IdFilter { exact: ID }
input TypeFilter { exact: EventType }
input DateFilter { exact: %(date)s gt: %(date)s gte: %(date)s lt: %(date)s lte: %(date)s }
input EventsFilter {
  id: IdFilter
  type: TypeFilter
  date: DateFilter
  dataIdentificationDataProfileId: IdFilter
  activityId: IdFilter
}
input EventsOrder { date: OrderDirection %(in_order)s }
input ByIdFilter { id: IdFilter }
input EndpointsFilter { id: IdFilter type: EndpointType }
input ByDateOrder { creation_date: OrderDirection last_modified: OrderDirection }
type Event {
  id: ID!
  date: String!
  creationDate: String!
  lastModified: String!
  type: EventType!
  agentId: ID
  cameraId: ID
  workspaceId: ID
  %(activity)s
  data: JSON
}
type Endpoint {
  id: ID!
  name: String!
  creationDate: String!
  lastModified: String!
  type: EndpointType!
  meta: JSON
  workspaceId: ID!
}
type EventsFilterItem {
  id: ID!
  name: String!
  creationDate: String!
  lastModified: String!
  meta: JSON
  workspaceId: ID!
  endpoints: [Endpoint!]!
}
type EventList { totalCount: Int! collectionItems: [Event!]! }
type EndpointList { totalCount: Int! collectionItems: [Endpoint!]! }
type EventsFilterList { totalCount: Int! collectionItems: [EventsFilterItem!]! }
type Query {
  events(filters: EventsFilter, order: EventsOrder %(argument)s): EventList!
  eventsFilters(filters: ByIdFilter, order: ByDateOrder, pagination: OffsetPaginationInput): EventsFilterList!
  endpoints(filters: EndpointsFilter, order: ByDateOrder, pagination: OffsetPaginationInput): EndpointList!
}
"""

_OLD = "filter: JSON, ids: [ID!], limit: Int, offset: Int, order: [String!]"
_PLATFORM = f"""
scalar UUID
input IdLookup {{ exact: UUID inList: [UUID!] isNull: Boolean }}
input DateLookup {{ exact: DateTime gt: DateTime gte: DateTime lt: DateTime lte: DateTime }}
input ActivityFilter {{ id: IdLookup cameraId: IdLookup profileId: IdLookup creationDate: DateLookup }}
input ActivityOrdering {{ creationDate: OrderDirection }}
type Access {{ id: ID! }}
type Workspace {{ id: ID! title: String! accesses: [Access!]! }}
type Me {{ username: String! email: String! firstName: String lastName: String workspaces: [Workspace!]! }}
type WorkspaceInfo {{
  id: ID!
  title: String!
  config: JSON!
  agentsCount: Int!
  camerasCount: Int!
  profilesCount: Int!
}}
type Agent {{
  id: ID!
  title: String!
  token: String!
  camerasIds: [ID!]!
  agentStatus: String!
  agentLastActiveTime: String
  archived: Boolean!
  creationDate: String!
  lastModified: String!
}}
type Camera {{
  id: ID!
  title: String!
  stream: String
  agentId: ID
  archived: Boolean!
  creationDate: String!
  lastModified: String!
}}
type Sample {{ id: ID! }}
type ProfileGroup {{
  id: ID!
  title: String!
  info: JSON
  profileIds: [ID!]!
  creationDate: String!
  lastModified: String!
}}
type Profile {{
  id: ID!
  info: JSON
  avatar: ID
  mainSample: Sample
  profileGroups: [ProfileGroup!]!
  activitiesCount: Int!
  lastActivityDate: String
  creationDate: String!
  lastModified: String!
}}
type Activity {{
  id: ID!
  creationDate: String!
  cameraId: ID
  profileId: ID
  bestShotId: ID
  status: String!
  data: JSON
}}
type AgentList {{ totalCount: Int! collectionItems: [Agent!]! }}
type CameraList {{ totalCount: Int! collectionItems: [Camera!]! }}
type ProfileList {{ totalCount: Int! collectionItems: [Profile!]! }}
type ProfileGroupList {{ totalCount: Int! collectionItems: [ProfileGroup!]! }}
type ActivityOutputCountList {{ totalCount: Int! collectionItems: [Activity!]! }}
type Query {{
  me: Me!
  workspaceInfo: WorkspaceInfo!
  agents({_OLD}, withArchived: String): AgentList!
  cameras({_OLD}): CameraList!
  profiles({_OLD}): ProfileList!
  profileGroups({_OLD}): ProfileGroupList!
  activities(filters: ActivityFilter, order: ActivityOrdering, pagination: OffsetPaginationInput): ActivityOutputCountList!
}}
"""


def event_service(assumptions: OmniAssumptions) -> GraphQLSchema:
    """Schema of the event service (page 2.1, 2.2)."""
    nested = assumptions.pagination_in_order
    return build_schema(
        _COMMON
        + _EVENTS
        % {
            "date": assumptions.date_scalar,
            "activity": "activityId: ID" if assumptions.activity_id_output else "",
            "newer": NEWER if assumptions.newer_type else "",
            "in_order": "pagination: OffsetPaginationInput" if nested else "",
            "argument": "" if nested else ", pagination: OffsetPaginationInput",
        }
    )


def platform() -> GraphQLSchema:
    """Schema of the platform API (page 2.3, 2.4)."""
    return build_schema(_COMMON + _PLATFORM)
